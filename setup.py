"Hands over what `pyproject.toml` calls dynamic: version, dependencies and commands stand in settings.ini alone."
from configparser import ConfigParser
from setuptools import find_namespace_packages, setup

config = ConfigParser(delimiters=['='])
config.read('settings.ini', encoding='utf-8')
facts = config['DEFAULT']
lines = lambda key: facts[key].split('\n') if facts.get(key) else []
extras = {key.removesuffix('_requirements'): lines(key) for key in facts if key.endswith('_requirements')}

setup(version=facts['version'], install_requires=lines('requirements'), extras_require=extras,
    entry_points={'console_scripts': lines('console_scripts'), 'nbdev': ['fashion_fastai=fashion_fastai._modidx:d']},
    packages=find_namespace_packages(include=['fashion_fastai', 'fashion_fastai.*']),
    package_data={'fashion_fastai': ['recipes/*.yaml', 'comparisons/*.yaml', 'spaces/*.yaml', 'plans/*.yaml',
        'assets/*.html', 'assets/*.css', 'assets/*.toml', 'assets/*.md']})
