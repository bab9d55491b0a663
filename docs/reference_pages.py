"""Pages of the site that are written from code: commands, settings, recipes, formats, and those that lead to others

Each function gives the text of one page; `site.py` writes it. Nothing here is said twice: defaults, limits and comments are those of the source.
"""
import inspect, os, re, tokenize
from io import StringIO
from pathlib import PurePosixPath
from typing import Annotated, Literal, Union, get_args, get_origin
import yaml


def cell(text):
    "`text` as a cell of a Markdown table"
    return ' '.join(str(text).split()).replace('|', r'\|')

def flow(value):
    "`value` as YAML in one line"
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000).strip().removesuffix('...').strip()

def table(head, rows):
    "A Markdown table"
    return '\n'.join(['| '+' | '.join(o)+' |' for o in [head, ['---']*len(head), *[list(map(cell, o)) for o in rows]]])


# Commands

def command_page(command, name, title='', depth=1):
    "What a Typer command and those below it take, from their `--help`"
    import typer
    context = typer.Context(command, info_name=name)
    text = [f'{"#"*depth} {title or f"`{name}`"}', command.help or '', f'```console\n$ {" ".join([name, *command.collect_usage_pieces(context)])}\n```']
    panels = {}
    for param in command.params:
        record = param.get_help_record(context)
        panel = getattr(param, 'rich_help_panel', None) or ('Arguments' if param.param_type_name=='argument' else 'Options')
        if not record or param.name=='help': continue
        text_of = re.sub(r'--[a-z-]+', r'`\g<0>`', record[1].replace('<', r'\<').replace('*', r'\*'))
        panels.setdefault(panel, []).append(f'- `{record[0]}`: {text_of}')
    for panel,lines in panels.items(): text += [f'**{panel}**', '\n'.join(lines)]
    for key,child in getattr(command, 'commands', {}).items(): text.append(command_page(child, f'{name} {key}', depth=depth+1))
    return '\n\n'.join(o for o in text if o)


# Settings

def field_comments(cls):
    "For each field of a class the comment behind it in the source"
    found,name = {},''
    source = inspect.getsource(cls)
    depth,starts = 0,True
    for o in tokenize.generate_tokens(StringIO(inspect.cleandoc(source)).readline):
        if o.type==tokenize.OP: depth += (o.string in '([{')-(o.string in ')]}')
        if o.type==tokenize.NAME and starts and not depth: name = o.string
        if o.type==tokenize.COMMENT and name: found[name] = o.string.lstrip('# ')
        starts = o.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL)
        if o.type==tokenize.NEWLINE: name = ''
    return found

def limits(metadata):
    "What the limits of a pydantic field say"
    signs = dict(ge='at least {}', gt='above {}', le='at most {}', lt='below {}')
    return ', '.join(text.format(f'{getattr(o, sign):,}') for o in metadata for sign,text in signs.items() if getattr(o, sign, None) is not None)

def values(annotation, metadata=()):
    "Which values a setting takes, in words"
    if get_origin(annotation) is Annotated:
        inner,*metadata = get_args(annotation)
        return values(inner, metadata)
    if get_origin(annotation) is Literal: return ', '.join(f'`{o}`' for o in get_args(annotation))
    if get_origin(annotation) is Union or type(annotation).__name__=='UnionType':
        return ' or '.join(values(o, metadata) for o in get_args(annotation) if o is not type(None))
    if get_origin(annotation) is dict: return f'for each name: {values(get_args(annotation)[1])}'
    if get_origin(annotation) is list: return f'list of {values(get_args(annotation)[0])}'
    if get_origin(annotation) is tuple: return f'{len(get_args(annotation))} numbers'
    words = {bool: '`true`, `false`', int: 'whole number', float: 'number', str: 'text'}
    said = limits(metadata)
    return words.get(annotation, getattr(annotation, '__name__', 'any'))+(f' {said}' if said else '')

def default(field):
    "The default of a pydantic field as it stands in YAML"
    if field.is_required(): return 'must be given'
    value = field.get_default(call_default_factory=True)
    return '' if value is None else f'`{flow(value)}`'

def settings_table(cls, prefix):
    "The settings of one class; those that are sections of their own are left out"
    from pydantic import BaseModel
    rows,comments = [],field_comments(cls)
    for name,field in cls.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel): continue
        rows.append([f'`{prefix}{name}`', values(field.annotation, field.metadata), default(field), comments.get(name, '')])
    return table(['setting', 'values', 'default', 'meaning'], rows)

def settings_page():
    "Every setting of a training"
    from fashion_fastai import config
    sections = [(config.DataConfig, 'data', 'Data'), (config.ImageConfig, 'image', 'ImageFiles'), (config.AugmentConfig, 'image.augment', 'Augmentation'),
        (config.AugmentBounds, 'image.limits.NAME', 'Limits of augmentation'), (config.ModelConfig, 'model', 'Model'), (config.LossConfig, 'loss', 'Loss'),
        (config.TargetLossConfig, 'loss.per_target.NAME', 'Loss of one target'), (config.TrainingConfig, 'training', 'Training'), (config.Stage, 'training.stages', 'A stage')]
    text = ['# Settings', 'Everything that a training depends on. Some have [options of their own](../commands.md#fashion-fastai-train); any is given as `--set key=value`, in a recipe, '
        'or in Python to `make_config`, and all stand in the `config.yaml` of a run. `NAME` is a target by its name, its role in a taxonomy (`main`, `sub`), '
        'its kind (`one_of`, `any_of`), or `*` for all. A value is written as in YAML: `--set training.lr=0.003`, `--set \'loss.weights={season: 0.5}\'`.']
    for cls,prefix,title in sections:
        about = (cls.__doc__ or '').strip().split('\n')[0]
        text += [f'## {title}', f'{about}.' if about and not about.startswith('See') else about+'.'*bool(about), settings_table(cls, prefix+'.')]
    return '\n\n'.join(o for o in text if o)


# Recipes

def in_yaml(fields): return f'```yaml\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110).strip()}\n```'

def recipe_section(name):
    "What a recipe is and how it differs from the defaults"
    from fashion_fastai.config import read_recipe
    recipe = read_recipe(name)
    text = [f'## `{name}`', f'{recipe.title}.', f'After: {recipe.source}.']
    if recipe.figures: text.append(f'Its source reports: {recipe.figures}.')
    return '\n\n'.join([*text, in_yaml(recipe.settings) if recipe.settings else 'All [settings](settings.md) are the defaults.'])

def sweep_section(name):
    "What a comparison compares"
    from fashion_fastai.config import read_packaged
    fields = read_packaged('comparison', name)
    rows = [[f'`{o["name"]}`', f'`{o.get("recipe", fields.get("recipe", "two-head"))}`', f'`{flow(o["settings"])}`' if o.get('settings') else '']
        for o in fields['runs']]
    shared = [f'All of them: `{flow(fields["settings"])}`.'] if fields.get('settings') else []
    return '\n\n'.join([f'### `{name}`', f'{fields["title"]}.', *shared, table(['run', 'recipe', 'settings'], rows)])

def recipes_page():
    "All recipes and comparisons that come with the library"
    from fashion_fastai.config import make_config, packaged_names
    names = sorted(packaged_names('recipe'), key=lambda o: (o!='two-head', o))
    rows = []
    for name in names:
        o = make_config(name)
        rows.append([f'[`{name}`](#{name})', f'`{o.model.arch.partition(".")[0]}`', o.image.size, o.training.epochs, f'{o.training.optimizer}, {o.training.schedule}', f'{o.training.lr:g}'])
    own = dict(title='Our shop', source='the catalogue team', settings=dict(image=dict(size=160, limits=dict(color=dict(hue=0))), training=dict(epochs=8)))
    return '\n\n'.join(['# Recipes', 'A recipe is a named set of [settings](settings.md). `train --recipe NAME` takes one, and every option and `--set` goes before it; '
        '`fashion-fastai recipes` lists them, `fashion-fastai recipes NAME` prints one. What those of the five published systems reach in three epochs is in the '
        '[results](../results.md#the-five-published-systems-as-recipes-on-one-table).',
        table(['recipe', 'body', 'pixels', 'epochs', 'optimiser, schedule', 'rate'], rows),
        '## Your own', 'A recipe is a YAML file with a title, a source and settings: `train --recipe shop.yaml`.', in_yaml(own), *map(recipe_section, names),
        '## Comparisons', 'A comparison trains several named settings and compares them in one table: `fashion-fastai comparison NAME --data TABLE`, or a YAML file of your own in the same form.',
        *map(sweep_section, packaged_names('comparison'))])


# Formats

def format_section(name, reader):
    "What a reader reads, and its options"
    from fastcore.docments import docments
    notes = docments(reader, full=True)
    (path,about),*options = [(k, o) for k,o in notes.items() if k not in ('return', 'self')]
    said = [f'## `{name}`', f'{reader.__doc__.strip()}.', f'Source: {about.docment}.']
    if (back:=notes.get('return')) is not None and back.docment: said.append(f'What comes out: {back.docment}.')
    if options: said.append(table(['option', 'default', 'meaning'], [[f'`{k}`', '' if o.default in (None, inspect.Parameter.empty) else f'`{o.default!r}`', o.docment or ''] for k,o in options]))
    return '\n\n'.join(said)

def formats_page():
    "All formats that tables and images can come in"
    from fashion_fastai.data.formats.registry import FORMATS
    rows = [[f'[`{k}`](#{k})', o.__doc__.strip()] for k,o in FORMATS.items()]
    return '\n\n'.join(['# Formats', 'What `--format` names. `train --format NAME --data SOURCE` reads a set as it is; `data convert --format NAME SOURCE --out labels.csv` writes one table of it, '
        'and beside it a schema. The options below are those of the readers in Python: `read_format(NAME, SOURCE, option=...)`. Examples of each are on the pages [data.formats.registry](../data.formats.ipynb), '
        '[data.formats.deepfashion](../data.deepfashion.ipynb) and [data.formats.huggingface](../data.huggingface.ipynb); where public sets are found is told in [data sets](../project/data.md); '
        'how to add one, in [a format of your own](../how-to/custom-format.md).', table(['format', 'what it is'], rows), *[format_section(*o) for o in FORMATS.items()]])


# Pages that lead to others

def overview(page, title, about, groups):
    """A page that leads to others: `groups` are headings and their pages, each `(page, title, purpose)`; purposes make a table

    The same pages are below it in the navigation, in the same order."""
    folder,text,tree = PurePosixPath(page).parent,[f'# {title}', about],[]
    for heading,pages in groups.items():
        if not pages: continue
        links = [(f'[{name}]({os.path.relpath(o, folder)})', purpose) for o,name,purpose in pages]
        if heading: text.append(f'## {heading}')
        if any(o for _,o in links): text.append('\n'.join(['| page | what it is about |', '| --- | --- |', *[f'| {o} | {purpose} |' for o,purpose in links]]))
        else: text.append('\n'.join(f'- {o}' for o,_ in links))
        tree += [str(PurePosixPath(os.path.relpath(o, folder)).with_suffix('')) for o,_,_ in pages]
    return '\n\n'.join([*[o for o in text if o], '\n'.join(['```{toctree}', ':hidden:', '', *tree, '```', ''])])

def arranged(names, groups):
    "`names` in the order of `groups`, which may name what is not there; the rest comes last, under its own heading"
    found = {k: [o for o in v if o in names] for k,v in groups.items()}
    rest = sorted(set(names)-{o for v in groups.values() for o in v})
    return found | ({'More': rest} if rest and any(groups) else {'': [*found.get('', ()), *rest]} if rest else {})
