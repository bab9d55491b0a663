"""Pages of the site that are generated from code: commands, settings, recipes, formats, hostile inputs, and index pages

Each function returns the text of one page; `site.py` writes it. Defaults, limits and comments are those of the source.
"""
import inspect
import os
import re
import tokenize
from io import StringIO
from pathlib import PurePosixPath
from typing import Annotated, Literal, Union, get_args, get_origin

import yaml


def table_cell(text):
    "Return `text` as a cell of a Markdown table"
    return ' '.join(str(text).split()).replace('|', r'\|')

def flow(value):
    "Return `value` as YAML on one line"
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000)
    return text.strip().removesuffix('...').strip()

def table(head, rows):
    "Return a Markdown table"
    lines = [head, ['---']*len(head), *[[table_cell(text) for text in row] for row in rows]]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


# Commands

def option_lines(command, context):
    "Return the lines of the options of a command, by the panel that `--help` shows them in"
    panels = {}
    for param in command.params:
        record = param.get_help_record(context)
        default_panel = 'Arguments' if param.param_type_name=='argument' else 'Options'
        panel = getattr(param, 'rich_help_panel', None) or default_panel
        if not record or param.name=='help': continue
        text = re.sub(r'--[a-z-]+', r'`\g<0>`', record[1].replace('<', r'\<').replace('*', r'\*'))
        panels.setdefault(panel, []).append(f'- `{record[0]}`: {text}')
    return panels

def command_page(command, name, title='', depth=1):
    "Return the options of a Typer command and its subcommands, from their `--help`"
    import typer
    context = typer.Context(command, info_name=name)
    usage = ' '.join([name, *command.collect_usage_pieces(context)])
    text = [f'{"#"*depth} {title or f"`{name}`"}', command.help or '', f'```console\n$ {usage}\n```']
    for panel, lines in option_lines(command, context).items(): text += [f'**{panel}**', '\n'.join(lines)]
    for key, child in getattr(command, 'commands', {}).items():
        text.append(command_page(child, f'{name} {key}', depth=depth+1))
    return '\n\n'.join(part for part in text if part)


# Settings

def field_comments(cls):
    "Return the comment behind each field of a class, from the source"
    comments, name = {}, ''
    source = inspect.cleandoc(inspect.getsource(cls))
    depth, starts_line = 0, True
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type==tokenize.OP: depth += (token.string in '([{')-(token.string in ')]}')
        if token.type==tokenize.NAME and starts_line and not depth: name = token.string
        if token.type==tokenize.COMMENT and name: comments[name] = token.string.lstrip('# ')
        starts_line = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL)
        if token.type==tokenize.NEWLINE: name = ''
    return comments

def limits(metadata):
    "Return the limits of a pydantic field in words"
    signs = dict(ge='at least {}', gt='above {}', le='at most {}', lt='below {}')
    limited = [(text, getattr(limit, sign, None)) for limit in metadata for sign, text in signs.items()]
    return ', '.join(text.format(f'{value:,}') for text, value in limited if value is not None)

def values(annotation, metadata=()):
    "Return the values that a setting takes, in words"
    kind, args = get_origin(annotation), get_args(annotation)
    if kind is Annotated: return values(args[0], args[1:])
    if kind is Literal: return ', '.join(f'`{value}`' for value in args)
    if kind is Union or type(annotation).__name__=='UnionType':
        return ' or '.join(values(choice, metadata) for choice in args if choice is not type(None))
    if kind is dict: return f'for each name: {values(args[1])}'
    if kind is list: return f'list of {values(args[0])}'
    if kind is tuple: return f'{len(args)} numbers'
    words = {bool: '`true`, `false`', int: 'whole number', float: 'number', str: 'text'}
    limit = limits(metadata)
    return words.get(annotation, getattr(annotation, '__name__', 'any'))+(f' {limit}' if limit else '')

def default(field):
    "Return the default of a pydantic field, spelled as in YAML"
    if field.is_required(): return 'required'
    value = field.get_default(call_default_factory=True)
    return '' if value is None else f'`{flow(value)}`'

def settings_table(cls, prefix):
    "Return the settings of one class as a table, without those that are sections of their own"
    from pydantic import BaseModel
    rows, comments = [], {}
    for base in reversed(cls.__mro__): # a section may be divided into several classes
        if base.__module__==cls.__module__: comments |= field_comments(base)
    for name, field in cls.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel): continue
        allowed = values(field.annotation, field.metadata)
        rows.append([f'`{prefix}{name}`', allowed, default(field), comments.get(name, '')])
    return table(['setting', 'values', 'default', 'meaning'], rows)

ABOUT_SETTINGS = """# Settings

Everything that a training depends on. Some settings have [options of their
own](../commands.md#fashion-fastai-train); any can be set by `--set key=value`, in a recipe, or in Python with
`make_config`, and all are in the `config.yaml` of a run. `NAME` is a target by its name, its role in a taxonomy
(`main`, `middle`, `sub`), its kind (`one_of`, `any_of`), or `*` for all. Values are written as in YAML: `--set
training.lr=0.003`, `--set 'loss.weights={season: 0.5}'`."""

def settings_page():
    "Return the page of every setting of a training"
    from fashion_fastai import config
    sections = [(config.DataConfig, 'data', 'Data'), (config.ImageConfig, 'image', 'Images'),
        (config.AugmentConfig, 'image.augment', 'Augmentation'),
        (config.AugmentBounds, 'image.augment_bounds.NAME', 'Augmentation bounds'),
        (config.ModelConfig, 'model', 'Model'), (config.LossConfig, 'loss', 'Loss'),
        (config.TargetLossConfig, 'loss.per_target.NAME', 'Loss of one target'),
        (config.TrainingConfig, 'training', 'Training'), (config.Stage, 'training.stages', 'A stage')]
    text = [ABOUT_SETTINGS]
    for cls, prefix, title in sections:
        about = (cls.__doc__ or '').strip().split('\n')[0].rstrip('.')
        text += [f'## {title}', f'{about}.' if about else '', settings_table(cls, f'{prefix}.')]
    return '\n\n'.join(part for part in text if part)


# Recipes

def in_yaml(fields):
    "Return `fields` as a YAML code block"
    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    return f'```yaml\n{text.strip()}\n```'

def recipe_section(name):
    "Return what the source of a recipe published, and the settings of the recipe that differ from the defaults"
    from fashion_fastai.config import read_recipe
    recipe = read_recipe(name)
    text = [f'### `{name}`', f'{recipe.title}.']
    if recipe.published: text += ['Published:', '\n'.join(f'- {particular}' for particular in recipe.published)]
    if recipe.figures: text.append(f'Reported: {recipe.figures}.')
    text.append(in_yaml(recipe.settings) if recipe.settings else 'All [settings](settings.md) have their defaults.')
    return '\n\n'.join(text)

def deviations_table(names):
    "Return where the recipes of one source differ from it; one line for what several recipes have in common"
    from fashion_fastai.config import read_recipe
    recipes_with = {}
    for name in names:
        for deviation in read_recipe(name).deviations:
            recipes_with.setdefault(tuple(deviation.model_dump().values()), []).append(f'`{name}`')
    head, rows = ['particular', 'source', 'recipe', 'why'], [list(deviation) for deviation in recipes_with]
    if len(names)>1:
        head.append('recipes')
        for row, having in zip(rows, recipes_with.values()):
            row.append('all' if len(having)==len(names) else ', '.join(having))
    return table(head, rows)

def source_section(source, names):
    "Return the recipes after one source, and where they differ from it"
    from fashion_fastai.config import read_recipe
    code = read_recipe(names[0]).code
    title, after, is_system = source, '', source.startswith('System ')
    if not is_system: title, after = ', '.join(f'`{name}`' for name in names), f'After: {source}.'
    found = f'Published code: <{code}>.' if code else 'No published code was found; particulars are as reported.'
    text = [f'## {title}', after, found if is_system else '', *map(recipe_section, names)]
    return '\n\n'.join(part for part in [*text, '**Differences from the source**', deviations_table(names)] if part)

def by_source(names):
    "Return recipes by their source: the systems A to E, then others"
    from fashion_fastai.config import read_recipe
    groups = {}
    for name in names: groups.setdefault(read_recipe(name).source, []).append(name)
    return dict(sorted(groups.items(), key=lambda group: (not group[0].startswith('System '), group[0])))

def comparison_section(name):
    "Return the runs of a comparison"
    from fashion_fastai.config import read_packaged
    fields = read_packaged('comparison', name)
    rows = []
    for run in fields['runs']:
        recipe = run.get('recipe', fields.get('recipe', 'two-head'))
        rows.append([f'`{run["name"]}`', f'`{recipe}`', f'`{flow(run["settings"])}`' if run.get('settings') else ''])
    shared = [f'All runs: `{flow(fields["settings"])}`.'] if fields.get('settings') else []
    shown = [f'Its table: {", ".join(fields["columns"])}.'] if fields.get('columns') else []
    if fields.get('figures'): shown.append(f'Its figures: {", ".join(figure["name"] for figure in fields["figures"])}.')
    return '\n\n'.join([f'### `{name}`', f'{fields["title"]}.', *shared, *shown,
        table(['run', 'recipe', 'settings'], rows)])

ABOUT_RECIPES = """# Recipes

A recipe is a named set of [settings](settings.md). `train --recipe NAME` uses one; every option and `--set`
overrides it. `fashion-fastai recipes` lists them, `fashion-fastai recipes NAME` prints one. Five published systems,
A to E, are recipes; for each stands below what was published, what the recipe does, and where and why both differ.
Everything on this page is in the files of the recipes. The tag behind the dot of a body, as in `resnet50.tv_in1k`,
names its weights on the hub. Where the hub cannot be reached, `--weights FILE` takes them from a file, `--weights none`
trains from random ones. The weights of torchvision fit the `tv` tags:

```python
network = torchvision.models.resnet50(weights='IMAGENET1K_V1')
safetensors.torch.save_file(network.state_dict(), 'resnet50.safetensors')
```

How the systems were measured here is on the page
[History](../history.md#the-five-published-systems-as-recipes-on-one-table)."""

ABOUT_COMPARISONS = """## Comparisons

A comparison trains several named settings and puts their scores into one table: `fashion-fastai compare NAME --data
TABLE`, or with a YAML file of your own in the same form: [compare settings](../how-to/compare.md)."""

def recipes_page():
    "Return the page of all recipes and comparisons that ship with the library"
    from fashion_fastai.config import make_config, packaged_names
    names = sorted(packaged_names('recipe'), key=lambda name: (name!='two-head', name))
    rows = []
    for name in names:
        config = make_config(name)
        training, arch = config.training, config.model.arch
        rows.append([f'[`{name}`](#{name})', f'`{arch}`', config.image.size, training.epochs,
            f'{training.optimizer}, {training.schedule}', f'{training.lr:g}'])
    settings = dict(image=dict(size=160, augment_bounds=dict(color=dict(hue=0))), training=dict(epochs=8))
    own = dict(title='Our shop', source='the catalogue team', settings=settings)
    head = ['recipe', 'body', 'pixels', 'epochs', 'optimiser, schedule', 'learning rate']
    how = 'A recipe is a YAML file with a title, a source and settings: `train --recipe shop.yaml`.'
    sources = [source_section(*group) for group in by_source(names).items()]
    return '\n\n'.join([ABOUT_RECIPES, table(head, rows), '## Your own', how, in_yaml(own), *sources,
        ABOUT_COMPARISONS, *map(comparison_section, packaged_names('comparison'))])


# Formats

def format_section(name, reader):
    "Return the description of a reader and its options"
    from fastcore.docments import docments
    notes = docments(reader, full=True)
    (_, source), *options = [(key, note) for key, note in notes.items() if key not in ('return', 'self')]
    text = [f'## `{name}`', f'{reader.__doc__.strip()}.', f'Source: {source.docment}.']
    returned = notes.get('return')
    if returned is not None and returned.docment: text.append(f'Returns: {returned.docment}.')
    rows = []
    for key, note in options:
        has_default = note.default not in (None, inspect.Parameter.empty)
        rows.append([f'`{key}`', f'`{note.default!r}`' if has_default else '', note.docment or ''])
    if rows: text.append(table(['option', 'default', 'meaning'], rows))
    return '\n\n'.join(text)

ABOUT_FORMATS = """# Formats

The values of `--format`. `train --format NAME --data SOURCE` reads a data set where it is; `data convert --format
NAME SOURCE --out labels.csv` writes one table of it, and a schema beside it. The options below are those of the
readers in Python: `read_format(NAME, SOURCE, option=...)`. Examples of each are on the pages
[data.formats.registry](../../nbs/13_data.formats.registry.ipynb),
[data.formats.two_csv](../../nbs/12_data.formats.two_csv.ipynb),
[data.formats.folders](../../nbs/12_data.formats.folders.ipynb),
[data.formats.products](../../nbs/12_data.formats.products.ipynb),
[data.formats.deepfashion](../../nbs/11_data.formats.deepfashion.ipynb),
[data.formats.meesho](../../nbs/12_data.formats.meesho.ipynb),
[data.formats.imagefolder](../../nbs/12_data.formats.imagefolder.ipynb) and
[data.formats.huggingface](../../nbs/11_data.formats.huggingface.ipynb). Where to get public data sets: [data
sets](../../data/README.md); how to add a format: [a format of your own](../how-to/custom-format.md)."""

def formats_page():
    "Return the page of all formats of tables and images"
    from fashion_fastai.data.formats.registry import FORMATS
    rows = [[f'[`{name}`](#{name})', reader.__doc__.strip()] for name, reader in FORMATS.items()]
    sections = [format_section(name, reader) for name, reader in FORMATS.items()]
    return '\n\n'.join([ABOUT_FORMATS, table(['format', 'description'], rows), *sections])


# Hostile inputs

def hostile_page(root):
    "Return the page of hostile inputs: as measured by `make hostile` if that was run, else what is covered"
    measured = root/'build'/'hostile-inputs.md'
    template = root/'docs'/'_templates'/'hostile-inputs.md'
    return (measured if measured.exists() else template).read_text(encoding='utf-8')


# Index pages

def moved_links(text, origin, folder):
    "Return `text` with its links to notebooks, which are relative to `origin`, relative to `folder`"
    return re.sub(r'\]\((?=[\w.]+\.ipynb)', f']({os.path.relpath(origin, folder)}/', text)

def overview(page, title, about, groups):
    """Return an index page: `groups` are headings and their pages, each `(page, title, purpose)`; purposes make a table

    The same pages are below it in the navigation, in the same order."""
    folder, text, tree = PurePosixPath(page).parent, [f'# {title}', about], []
    for heading, pages in groups.items():
        if not pages: continue
        links = [(f'[{name}]({os.path.relpath(target, folder)})',
            moved_links(purpose, PurePosixPath(target).parent, folder)) for target, name, purpose in pages]
        if heading: text.append(f'## {heading}')
        if any(purpose for _, purpose in links): text.append(table(['page', 'content'], links))
        else: text.append('\n'.join(f'- {link}' for link, _ in links))
        tree += [str(PurePosixPath(os.path.relpath(target, folder)).with_suffix('')) for target, _, _ in pages]
    text.append('\n'.join(['```{toctree}', ':hidden:', '', *tree, '```', '']))
    return '\n\n'.join(part for part in text if part)

def arranged(names, groups):
    "Return `names` in the order of `groups`, which may hold names that do not exist; the rest comes last, under *More*"
    grouped = {heading: [name for name in order if name in names] for heading, order in groups.items()}
    rest = sorted(set(names)-{name for order in groups.values() for name in order})
    if not rest: return grouped
    if any(groups): return grouped | {'More': rest}
    return grouped | {'': [*grouped.get('', ()), *rest]}
