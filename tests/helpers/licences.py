"""The licences of everything that an installation of this library brings along, as the packages themselves say

    python tests/helpers/licences.py [EXTRA ...]     prints a table of what is installed here; before each release, see `make release-check`
"""
import re, sys
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BY_HAND = {'cuda-toolkit': 'NVIDIA; the package is empty and does not say it'}

def required(*extras):
    "Return the requirements in settings.ini: those of the base and of some extras"
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    lines = config['DEFAULT']
    return [line for key in ('requirements', *(f'{extra}_requirements' for extra in extras)) for line in lines[key].split('\n')]

def closure(requirements):
    "Yield the distributions that requirements lead to and that are installed, each once"
    seen,todo = set(),[Requirement(line) for line in requirements]
    while todo:
        requirement = todo.pop()
        for extra in ('', *requirement.extras):
            key = canonicalize_name(requirement.name),extra
            if key in seen: continue
            seen.add(key)
            try: found = metadata.distribution(requirement.name)
            except metadata.PackageNotFoundError: continue # of another system
            if not extra: yield found
            below = [Requirement(line) for line in found.requires or []]
            todo += [other for other in below if other.marker is None or other.marker.evaluate(dict(extra=extra))]

def first_line(found):
    "Return the first line of the licence file of a distribution; empty without one"
    files = [file for file in found.files or [] if re.match(r'licen[cs]e|copying', file.name, re.I)]
    lines = [line.strip() for file in files[:1] for line in file.read_text(encoding='utf-8').split('\n')]
    return next(filter(None, lines), '')

def licence(found):
    "Return the licence of a distribution: its expression, else its classifiers, its text, or the first line of its file"
    facts = found.metadata
    classifiers = [line.rpartition('::')[2].strip() for line in facts.get_all('Classifier', []) if line.startswith('License ::')]
    text = (facts.get('License') or '').strip().partition('\n')[0].removeprefix('UNKNOWN')
    said = facts.get('License-Expression') or '; '.join(classifiers) or text or first_line(found)
    return said or BY_HAND.get(canonicalize_name(facts['Name']), '')

def is_copyleft(text):
    "Return whether a licence would bind programs that only use the package"
    return re.search(r'(?<!L)(?<!Lesser )\bA?GPL|(?<!Lesser )General Public|Affero|SSPL|Server Side Public|Business Source', text) is not None

if __name__=='__main__':
    rows = sorted({(found.metadata['Name'], found.version, licence(found)) for found in closure(required(*sys.argv[1:]))}, key=lambda row: row[0].lower())
    print('| package | version | licence |\n| --- | --- | --- |')
    for row in rows: print(f'| {" | ".join(row)} |')
    sys.exit(any(is_copyleft(row[2]) or not row[2] for row in rows))
