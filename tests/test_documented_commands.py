"""Every command line that a page, a notebook or a message shows can be typed: the command exists, and so do its options

A message may only name options of the commands that can print it; which those are is known from where its source lies."""
import ast, json, re, shlex
from pathlib import Path
import pytest, typer
from fashion_fastai.cli import app

ROOT = Path(__file__).parents[1]
CLICK = typer.main.get_command(app)

def commands():
    "Return all commands by the words that call them"
    for name,command in CLICK.commands.items():
        inner = getattr(command, 'commands', None)
        if inner is None: yield name,command
        else: yield from ((f'{name} {sub}', below) for sub,below in inner.items())

COMMANDS = dict(commands())

def options(name): return {option for param in COMMANDS[name].params for option in (*param.opts, *param.secondary_opts) if option.startswith('-')} | {'--help'}

# ---- where command lines stand

COMMAND = re.compile(r'(?<![\w/-])fashion-fastai +(?=[a-z-])')
END = re.compile(r'`|\n|\s#\s| && | \|\|? |;|(?<=\w)[,.:)](?=\s|$)|"(?=\)|\s*$)|(?<=[\w/])\'| > | 2>&1|,? then\b| and open\b|\\n')

def lines_of(text):
    "Return the command lines in a text, without `fashion-fastai`"
    text = re.sub(r' *\\\n\s*', ' ', text)
    found = []
    for match in COMMAND.finditer(text):
        rest = text[match.end():]
        stop = END.search(rest)
        found.append(rest[:stop.start()].strip() if stop else rest.strip())
    return found

def notebook_texts(path):
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']: yield ''.join(cell['source'])

def string_texts(path):
    "Yield the strings of a module, a placeholder in the place of each value that is filled in"
    nodes = list(ast.walk(ast.parse(path.read_text(encoding='utf-8'))))
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in joined for part in node.values}
    for node in joined: yield ''.join(part.value if isinstance(part, ast.Constant) else '1' for part in node.values)
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts: yield node.value

def pages():
    pages = [*ROOT.glob('*.md'), ROOT/'data/README.md', *(ROOT/'docs').rglob('*.md')]
    return sorted(path for path in pages if path.name!='CHANGELOG.md')

def sources():
    "Yield each file that shows commands, and its texts"
    for path in pages(): yield path,[path.read_text(encoding='utf-8')]
    for path in sorted((ROOT/'nbs').rglob('*.ipynb')): yield path,list(notebook_texts(path))
    for path in sorted((ROOT/'fashion_fastai').rglob('*.py')):
        if path.name!='_modidx.py': yield path,list(string_texts(path))

def wrong_with(line):
    "Return what is wrong with a command line; empty if it can be typed"
    line = re.sub(r'\.\.\.|…|[\[\]]', ' ', line)
    try: words = shlex.split(line)
    except ValueError: words = line.split()
    if not words or words==['data']: return ''
    name = ' '.join(words[:2]) if words[0]=='data' else words[0]
    if name not in COMMANDS: return '' if name.startswith('-') else f'no command {name!r}'
    given = [word.split('=')[0] for word in words if word.startswith('--')]
    unknown = [option for option in given if option not in options(name)]
    return f'{name} has no option {unknown[0]}' if unknown else ''

def test_commands_of_pages_notebooks_and_messages_exist():
    found,wrong = 0,[]
    for path,texts in sources():
        for line in (line for text in texts for line in lines_of(text)):
            found += 1
            if reason := wrong_with(line): wrong.append(f'{path.relative_to(ROOT)}: {reason}: {line}')
    assert not wrong, '\n'.join(wrong)
    assert found>150

@pytest.mark.parametrize('line', ['train --data shop.csv --epochs 3', 'data convert --format hf small/ --one-of a,b --out labels.csv',
    'data audit T.csv --fix --out audit', 'evaluate runs/shop --on-unseen ignore'])
def test_what_can_be_typed(line): assert wrong_with(line)==''

@pytest.mark.parametrize('line,reason', [('trian --data x', "no command 'trian'"), ('evaluate run --min-recall 1', 'evaluate has no option --min-recall'),
    ('data convert x --taxonomy auto', 'data convert has no option --taxonomy'), ('data fix x', "no command 'data fix'")])
def test_what_cannot_be_typed(line, reason): assert wrong_with(line)==reason

def test_command_lines_are_found():
    text = 'Run `fashion-fastai train --epochs 3`, then\nfashion-fastai predict run \\\n  images --out a.csv  # all\nprint(f"  fashion-fastai app runs")\n'
    assert lines_of(text)==['train --epochs 3', 'predict run images --out a.csv', 'app runs']

# ---- a path with a blank in it

def unquoted(path):
    "Yield what a module fills into a command line without quotes for a shell; numbers have a format of their own"
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if not isinstance(node, ast.JoinedStr): continue
        texts = [part.value if isinstance(part, ast.Constant) else '' for part in node.values]
        starts = [i for i,text in enumerate(texts) if (lines := lines_of(text)) and text.endswith(lines[-1]+' ')]
        for part in node.values[starts[0]+1:] if starts else []:
            if isinstance(part, ast.FormattedValue) and part.format_spec is None and 'quote' not in ast.unparse(part.value): yield ast.unparse(part.value)

@pytest.mark.parametrize('code,found', [("f'fashion-fastai app {run}'", ['run']), ("f'fashion-fastai app {shlex.quote(run)} --set a={b:g}'", [])])
def test_what_is_quoted(code, found, tmp_path):
    (tmp_path/'code.py').write_text(code)
    assert list(unquoted(tmp_path/'code.py'))==found

def test_commands_in_messages_can_be_pasted():
    wrong = {path.name: found for path in sorted((ROOT/'fashion_fastai').rglob('*.py')) if (found := list(unquoted(path)))}
    assert wrong=={}

# ---- options that a message names without a command line

READ_FORMATS = ['train', 'lr-find', 'tune', 'compare', 'data describe', 'data split', 'data audit', 'data explore', 'data convert']
NAMED = re.compile(r'(?<![\w-])--[a-z][a-z0-9-]+')
OTHERS = {'--no-deps', '--logdir', '--force-reinstall', '--backend-store-uri', '--int', '--version'} # of pip and of trackers

def named_options(path):
    for text in string_texts(path):
        outside = COMMAND.split(text)[0] # behind it stands a command line
        yield from NAMED.findall(outside)

def test_options_in_messages_exist():
    known = set().union(*map(options, COMMANDS)) | OTHERS
    for path in sorted((ROOT/'fashion_fastai').rglob('*.py')):
        if path.name=='_modidx.py': continue
        for option in named_options(path): assert option in known, f'{path.relative_to(ROOT)} names {option}, which no command has'

def test_a_reader_names_only_options_of_every_command_that_reads_formats():
    for path in sorted((ROOT/'fashion_fastai/data/formats').glob('*.py')):
        for option in named_options(path):
            if option=='--allow-outside': continue # what leads out of a folder is refused by data convert as well, on purpose
            lacking = [name for name in READ_FORMATS if option not in options(name)]
            assert lacking==[], f'{path.name} names {option}, which {", ".join(lacking)} has not'

MODULES = {name: path for name in COMMANDS for path in [ROOT/f'fashion_fastai/commands/{name.split()[0].replace("-", "_")}.py'] if path.is_file()}

@pytest.mark.parametrize('name', sorted(MODULES))
def test_a_command_names_only_its_own_options(name):
    module = {o for other,path in MODULES.items() if path==MODULES[name] for o in options(other)}
    foreign = set(named_options(MODULES[name]))-module-OTHERS
    assert foreign==set(), f'commands/{MODULES[name].name} names {foreign}'
