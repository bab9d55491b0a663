"The project agrees with itself"
import subprocess, sys, time
from configparser import ConfigParser
from pathlib import Path
import fashion_fastai

ROOT = Path(__file__).parents[1]

def test_version_stands_in_settings_and_package():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini')
    assert config['DEFAULT']['version']==fashion_fastai.__version__

def test_help_imports_nothing_heavy():
    code = "import sys; from fashion_fastai.cli import main; main(['train', '--help']); print([o for o in ('torch','fastai','timm','pandas','matplotlib') if o in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.endswith('[]\n')

def test_low_floors_know_no_torch():
    code = "import sys, fashion_fastai.schema, fashion_fastai.config, fashion_fastai.run, fashion_fastai.data.catalogue; print([o for o in ('torch','fastai','timm') if o in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout=='[]\n'
