"Settings of Sphinx for the site; `docs/site.py` writes the pages"
import re
import sys
from configparser import ConfigParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent)) # for `conf.slug` below: Sphinx pickles its settings
settings = ConfigParser(delimiters=['='])
settings.read(Path(__file__).parents[1]/'settings.ini', encoding='utf-8')

project = 'fashion_fastai'
author = copyright = 'The fashion_fastai authors'
version = release = settings['DEFAULT']['version']
extensions = ['myst_nb']
smartquotes_action = 'qe' # quotes and ellipses, but not dashes: --help must not change
pygments_dark_style = 'github-dark'
highlight_language = 'none' # printed output is not Python
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
    "Return the anchor of a heading: as on GitHub, but with the dots and underscores of names, as in nbdev"
    return re.sub(r'[^\w. -]', '', heading.strip().lower()).replace(' ', '-')

def keep_slugs(app, doctree):
    "Give a section both anchors: Sphinx writes `open_run` as `open-run`, links use the name itself"
    from docutils.nodes import section
    for node in doctree.findall(section):
        if node.get('slug') and node['slug'] not in node['ids']: node['ids'].append(node['slug'])

def setup(app): app.connect('doctree-read', keep_slugs)
