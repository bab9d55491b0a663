"""How much of the public interface is documented: `python tests/helpers/docments.py`

A public name is one that a module exports. A function, class or method without an underscore needs a docstring; each
parameter, and each field of a dataclass or model, a comment of its own; a result its type, and a comment where the type
is as general as an array or a bare dict. The result of a property is documented by its docstring.
Left out are `self` and `cls`; methods that a base class defines, of this library or another (`forward`,
`before_batch`); keyword arguments that `@delegates` or a decorator `with_...` names; and options of a command whose
`Annotated` has a help text, in place or by the name of its type.
"""
import ast
import importlib
import re
import sys
import tokenize
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]/'fashion_fastai'
FUNCTION = ast.FunctionDef, ast.AsyncFunctionDef
# types that say neither shape nor content
VAGUE = r'(np\.)?ndarray|(torch\.)?Tensor|L|Any|object|dict|list|tuple(\[.*\])?'
# methods that fastai calls by name, although its classes do not define them
EVENTS = {'Callback': ('before', 'after'), 'Transform': ('encodes', 'decodes', 'setups')}

@dataclass
class Item:
    "Something that must be documented"
    module:str # dotted, without the package
    line:int # line in the module
    name:str # `Class.method(parameter)`
    documented:bool # whether it is

def comments(text)->dict[int, str]:
    "Return the comment at the end of each line"
    tokens = tokenize.generate_tokens(StringIO(text).readline)
    found = [token for token in tokens if token.type==tokenize.COMMENT and token.string.strip('# ')]
    return {token.start[0]: token.string for token in found}

def returns(node)->bool:
    "Return whether a function returns or yields something, not counting functions within it"
    pending = list(node.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.Yield, ast.YieldFrom)): return True
        value = node.value if isinstance(node, ast.Return) else None
        if value is not None and not ast.unparse(value).startswith('print('): return True
        if not isinstance(node, (*FUNCTION, ast.Lambda, ast.ClassDef)): pending += ast.iter_child_nodes(node)
    return False

def decorators(node)->list[str]: return [ast.unparse(decorator) for decorator in node.decorator_list]

class Module:
    "The public interface of one module, item by item"
    def __init__(self, path):
        self.path, self.text = path, path.read_text()
        self.tree = ast.parse(self.text)
        self.comments = comments(self.text)
        self.name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        self.live = importlib.import_module(f'fashion_fastai.{self.name}')
        self.items = []

    def add(self, node, name, documented): self.items.append(Item(self.name, node.lineno, name, bool(documented)))

    def parameter_documented(self, arg, default=None):
        "Return whether a parameter has a comment at its end, or is an option with a help text"
        last = (default or arg).end_lineno
        if last in self.comments or arg.end_lineno in self.comments: return True
        return arg.annotation is not None and self.has_help(arg.annotation)

    def has_help(self, annotation):
        "Return whether `annotation` is `Annotated[..., typer.Option(help='...')]`, or the name of such a type"
        kind = self.live.__dict__.get(annotation.id) if isinstance(annotation, ast.Name) else None
        source = ast.unparse(annotation)
        if kind is None and 'Annotated' in source: kind = eval(source, dict(vars(self.live)))
        return any(getattr(metadata, 'help', None) for metadata in getattr(kind, '__metadata__', ()))

    def add_parameters(self, node, name, method):
        "Add the parameters of a function"
        marks = decorators(node)
        args = node.args.posonlyargs+node.args.args
        pairs = [*zip(reversed(args), reversed(node.args.defaults)), *zip(node.args.kwonlyargs, node.args.kw_defaults)]
        defaults = {id(arg): default for arg, default in pairs if default is not None}
        if method and 'staticmethod' not in marks: args = args[1:]
        for arg in args+node.args.kwonlyargs:
            self.add(arg, f'{name}({arg.arg})', self.parameter_documented(arg, defaults.get(id(arg))))
        delegated = any('delegates' in mark or mark.startswith('with_') for mark in marks)
        for arg, stars in ((node.args.vararg, '*'), (node.args.kwarg, '**')):
            if arg is None or (stars=='**' and delegated): continue
            self.add(arg, f'{name}({stars}{arg.arg})', self.parameter_documented(arg))

    def add_result(self, node, name):
        "Add the result of a function that returns something and is no property"
        if node.name=='__init__' or not returns(node): return
        if any('prop' in mark for mark in decorators(node)): return
        kind = ast.unparse(node.returns) if node.returns else ''
        commented = node.returns is not None and node.returns.end_lineno in self.comments
        specific = kind and not re.fullmatch(VAGUE, kind.removesuffix(' | None'))
        self.add(node, f'{name} -> {kind}', kind and (commented or specific))

    def add_function(self, node, name, method=False):
        self.add(node, name, ast.get_docstring(node))
        self.add_parameters(node, name, method)
        self.add_result(node, name)

    def inherited(self, cls, name):
        "Return whether a base class defines the method, so that its contract is documented there"
        bases = getattr(getattr(self.live, cls, None), '__mro__', ())[1:]
        return any(name in vars(base) or name.split('_')[0] in EVENTS.get(base.__name__, ()) for base in bases)

    def has_fields(self, node):
        "Return whether a class is a dataclass, a model or a named tuple"
        if any('dataclass' in mark for mark in decorators(node)): return True
        bases = [ast.unparse(base) for base in node.bases]
        return hasattr(getattr(self.live, node.name), 'model_fields') or any('NamedTuple' in base for base in bases)

    def add_field(self, node, cls):
        "Add a public field of a class"
        if node.target.id.startswith('_') or 'ClassVar' in ast.unparse(node.annotation): return
        commented = {node.end_lineno, node.annotation.end_lineno} & self.comments.keys()
        self.add(node, f'{cls}.{node.target.id}', commented)

    def add_class(self, node):
        "Add a class, its fields and its methods"
        self.add(node, node.name, ast.get_docstring(node))
        fields = self.has_fields(node)
        for member in node.body:
            if isinstance(member, ast.AnnAssign) and fields: self.add_field(member, node.name)
            if not isinstance(member, FUNCTION): continue
            if member.name=='__init__': self.add_parameters(member, node.name, True)
            elif not member.name.startswith('_') and not self.inherited(node.name, member.name):
                self.add_function(member, f'{node.name}.{member.name}', True)

    def interface(self)->list[Item]:
        "Return every item of the names that the module exports, and of the methods that it patches onto classes"
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name in self.live.__all__: self.add_class(node)
            if not isinstance(node, FUNCTION) or node.name.startswith('_'): continue
            if any(mark.startswith('patch') for mark in decorators(node)):
                kind = node.args.args[0].annotation
                self.add_function(node, f'{ast.unparse(kind) if kind else "?"}.{node.name}', True)
            elif node.name in self.live.__all__: self.add_function(node, node.name)
        return self.items

def all_items(root=ROOT)->list[Item]:
    "Return every public item of the package"
    paths = [path for path in sorted(root.rglob('*.py')) if not path.name.startswith('_')]
    modules = [path for path in paths if '__all__' in path.read_text()]
    return [item for path in modules for item in Module(path).interface()]

def share(name, items):
    documented = sum(item.documented for item in items)
    return f'{name:35} {documented:4} of {len(items):4}  {documented/len(items):7.1%}'

def main():
    "Print the documented share of each module, and what is missing"
    sys.path.insert(0, str(ROOT.parent))
    items = all_items()
    for name in dict.fromkeys(item.module for item in items):
        print(share(name, [item for item in items if item.module==name]))
    print(share('in all', items))
    for item in items:
        if not item.documented: print(f'fashion_fastai/{item.module.replace(".", "/")}.py:{item.line}: {item.name}')

if __name__=='__main__': main()
