"Settings of Sphinx for the site; `docs/site.py` writes the pages"
import re, sys
from configparser import ConfigParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent)) # for `conf.slug` below: Sphinx wants settings that can be pickled
settings = ConfigParser(delimiters=['='])
settings.read(Path(__file__).parents[1]/'settings.ini', encoding='utf-8')

project = 'fashion_fastai'
author = copyright = 'The fashion_fastai authors'
version = release = settings['DEFAULT']['version']
extensions = ['myst_nb']
smartquotes_action = 'qe' # not the dashes: --help must stay what it is
pygments_dark_style = 'github-dark'
highlight_language = 'none' # what is printed is no Python
html_theme = 'furo'
html_title = f'fashion_fastai {version}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_copy_source = False
html_show_sphinx = False
html_use_index = False
nb_execution_mode = 'off'
myst_enable_extensions = ['attrs_inline']
myst_heading_anchors = 4
myst_heading_slug_func = 'conf.slug'

def slug(heading):
    "The anchor of a heading: as on GitHub, and the dots and underscores of names stay, as nbdev has them"
    return re.sub(r'[^\w. -]', '', heading.strip().lower()).replace(' ', '-')

def keep_slugs(app, doctree):
    "Sphinx writes `open_run` as `open-run`; links from elsewhere use the name itself, so a section gets both"
    from docutils.nodes import section
    for node in doctree.findall(section):
        if node.get('slug') and node['slug'] not in node['ids']: node['ids'].append(node['slug'])

def setup(app): app.connect('doctree-read', keep_slugs)
