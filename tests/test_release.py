"What a release promises: licences, the content of the wheel, and every command from the wheel alone"
import os, re, subprocess, sys, zipfile
from configparser import ConfigParser
from pathlib import Path
import pytest
from helpers import licences, smoke
from test_documented_commands import COMMANDS

ROOT = Path(__file__).parents[1]
config = ConfigParser(delimiters=['='])
config.read(ROOT/'settings.ini', encoding='utf-8')
EXTRAS = [key.removesuffix('_requirements') for key in config['DEFAULT'] if key.endswith('_requirements')]
FOR_USERS = [extra for extra in EXTRAS if extra not in ('dev', 'docs', 'notebook')]

@pytest.mark.parametrize('extra', ['', *FOR_USERS])
def test_no_licence_binds_those_who_only_use_the_library(extra):
    found = {dist.metadata['Name']: licences.licence(dist) for dist in licences.closure(licences.required(*filter(None, [extra])))}
    assert len(found)>50
    assert [name for name,text in found.items() if not text]==[]
    assert {name: text for name,text in found.items() if licences.is_copyleft(text)}=={}

@pytest.mark.parametrize('text,wanted', [('GPL-3.0-or-later', True), ('AGPL-3.0', True), ('GNU Affero General Public License v3', True),
    ('GNU General Public License v3 (GPLv3)', True), ('LGPL-3.0', False), ('GNU Lesser General Public License v3 (LGPLv3)', False),
    ('MIT', False), ('Mozilla Public License 2.0 (MPL 2.0)', False), ('SSPL-1.0', True), ('Business Source License 1.1', True)])
def test_which_licences_bind(text, wanted): assert licences.is_copyleft(text)==wanted

def test_the_changelog_begins_with_this_version():
    "One place has the number, and the changelog describes it"
    assert re.findall(r'^## (.+)$', (ROOT/'CHANGELOG.md').read_text(encoding='utf-8'), re.M)[0].split()[-1]==config['DEFAULT']['version']

def test_every_extra_is_on_the_first_page():
    page = (ROOT/'docs/start.md').read_text(encoding='utf-8')
    assert [extra for extra in FOR_USERS if not re.search(rf'^\|.*`{extra}`.*\|.*\|$', page, re.M)]==[]

def test_every_command_is_tried_from_the_wheel():
    tried = {name for name,_ in smoke.commands(8000)}
    assert tried==set(COMMANDS)

@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    "A wheel that was built from a copy of the files that git has"
    folder = tmp_path_factory.mktemp('wheel')
    source = folder/'source'
    source.mkdir()
    names = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split('\0')
    for name in filter(None, names):
        if not (ROOT/name).is_file(): continue
        (source/name).parent.mkdir(parents=True, exist_ok=True)
        (source/name).write_bytes((ROOT/name).read_bytes())
    subprocess.run([sys.executable, '-m', 'build', '--no-isolation', '--outdir', str(folder), str(source)], check=True, capture_output=True)
    (found,) = folder.glob('*.whl')
    return found

@pytest.mark.slow
def test_the_wheel_has_every_asset_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in name}
    tracked = subprocess.run(['git', 'ls-files', 'fashion_fastai'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert names==set(tracked)
    assert wheel.stat().st_size<1_000_000

@pytest.mark.slow
def test_every_command_works_from_the_wheel(wheel, tmp_path):
    "In a folder without the source; the packages that it needs are those of this environment"
    site,work = tmp_path/'site',tmp_path/'work'
    work.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    binary = tmp_path/'fashion-fastai'
    code = f'import sys; sys.path.insert(0, {str(site)!r}); from fashion_fastai.cli import run_script; run_script()'
    binary.write_text(f'#!{sys.executable}\n{code}\n')
    binary.chmod(0o755)
    environment = os.environ | dict(PYTHONPATH=str(site))
    script = ROOT/'tests/helpers/smoke.py'
    done = subprocess.run([sys.executable, str(script), str(binary), str(work), '--keep-path'], env=environment, capture_output=True, text=True)
    assert done.returncode==0, done.stdout+done.stderr
