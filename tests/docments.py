"""How much of the public interface is described: `python tests/docments.py`

A public name is one that a module exports. A function, a class and a method without an underscore needs a docstring; each parameter and each field of a
dataclass or a model a comment of its own; a result, where there is one, its type, and a comment where the type is as general as an array or a bare dict.
The result of a property is told by its docstring.
What is left out: `self` and `cls`; methods that a class above asks for, of this library or another (`forward`, `before_batch`); keyword arguments that
`@delegates` or a decorator `with_...` names; an option of a command whose `Annotated` has a help text, in place or by the name of its type.
"""
import ast, importlib, re, sys, tokenize
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]/'fashion_fastai'
FUNCTION = ast.FunctionDef, ast.AsyncFunctionDef
VAGUE = r'(np\.)?ndarray|(torch\.)?Tensor|L|Any|object|dict|list|tuple(\[.*\])?' # says neither shape nor content

@dataclass
class Item:
    "Something that has to be described"
    module:str # dotted, without the package
    line:int # where it stands
    name:str # `Class.method(parameter)`
    told:bool # it is described

def comments(text)->dict[int, str]:
    "The comment at the end of each line"
    return {o.start[0]: o.string for o in tokenize.generate_tokens(StringIO(text).readline) if o.type==tokenize.COMMENT and o.string.strip('# ')}

def returns(node)->bool:
    "Whether a function hands something back, not counting functions within it"
    todo = list(node.body)
    while todo:
        o = todo.pop()
        if isinstance(o, (ast.Yield, ast.YieldFrom)): return True
        if isinstance(o, ast.Return) and o.value is not None and not ast.unparse(o.value).startswith('print('): return True
        if not isinstance(o, (*FUNCTION, ast.Lambda, ast.ClassDef)): todo += ast.iter_child_nodes(o)
    return False

def decorators(node)->list[str]: return [ast.unparse(o) for o in node.decorator_list]

class Module:
    "The public interface of one module, item by item"
    def __init__(self, path):
        self.text,self.path = path.read_text(), path
        self.tree,self.comments = ast.parse(self.text),comments(self.text)
        self.name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        self.live = importlib.import_module(f'fashion_fastai.{self.name}')
        self.items = []

    def tell(self, node, name, told): self.items.append(Item(self.name, node.lineno, name, bool(told)))

    def described(self, arg, default=None):
        "By a comment at the end of the parameter, or by the help text of an option"
        last = (default or arg).end_lineno
        return last in self.comments or arg.end_lineno in self.comments or (arg.annotation is not None and self.has_help(arg.annotation))

    def has_help(self, annotation):
        "`Annotated[..., typer.Option(help='...')]`, or the name of such a type"
        kind = self.live.__dict__.get(annotation.id) if isinstance(annotation, ast.Name) else None
        if kind is None and 'Annotated' in ast.unparse(annotation): kind = eval(ast.unparse(annotation), dict(vars(self.live)))
        return any(getattr(o, 'help', None) for o in getattr(kind, '__metadata__', ()))

    def signature(self, node, name, method):
        "Parameters and result of a function"
        a,marks = node.args,decorators(node)
        args = a.posonlyargs+a.args
        defaults = dict(zip(reversed([id(o) for o in args]), reversed(a.defaults))) | {id(o): d for o,d in zip(a.kwonlyargs, a.kw_defaults) if d is not None}
        if method and 'staticmethod' not in marks: args = args[1:]
        for arg in args+a.kwonlyargs: self.tell(arg, f'{name}({arg.arg})', self.described(arg, defaults.get(id(arg))))
        delegated = any('delegates' in o or o.startswith('with_') for o in marks)
        for arg,stars in ((a.vararg, '*'), (a.kwarg, '**')):
            if arg is None or (stars=='**' and delegated): continue
            self.tell(arg, f'{name}({stars}{arg.arg})', self.described(arg))
        if node.name=='__init__' or not returns(node): return
        if any('prop' in o for o in marks): return
        kind = ast.unparse(node.returns) if node.returns else ''
        line = node.returns.end_lineno if node.returns else 0
        self.tell(node, f'{name} -> {kind}', kind and (line in self.comments or not re.fullmatch(VAGUE, kind.removesuffix(' | None'))))

    def function(self, node, name, method=False):
        self.tell(node, name, ast.get_docstring(node))
        self.signature(node, name, method)

    def asked_for(self, cls, name):
        "Whether a class above asks for this method: its contract stands there"
        above = getattr(getattr(self.live, cls, None), '__mro__', ())[1:]
        events = {'Callback': ('before', 'after'), 'Transform': ('encodes', 'decodes', 'setups')} # called by name, and not in the classes themselves
        return any(name in vars(o) or name.split('_')[0] in events.get(o.__name__, ()) for o in above)

    def cls(self, node):
        "A class, its fields and its methods"
        self.tell(node, node.name, ast.get_docstring(node))
        fields = any('dataclass' in o for o in decorators(node)) or hasattr(getattr(self.live, node.name), 'model_fields') or 'NamedTuple' in ast.unparse(node).split('\n')[0]
        for o in node.body:
            if isinstance(o, ast.AnnAssign) and fields and not o.target.id.startswith('_') and 'ClassVar' not in ast.unparse(o.annotation):
                self.tell(o, f'{node.name}.{o.target.id}', {o.end_lineno, o.annotation.end_lineno} & self.comments.keys())
            if not isinstance(o, FUNCTION): continue
            if o.name=='__init__': self.signature(o, node.name, True)
            elif not o.name.startswith('_') and not self.asked_for(node.name, o.name): self.function(o, f'{node.name}.{o.name}', True)

    def interface(self)->list[Item]:
        "Every item of the names that the module exports, and of the methods that it patches onto classes"
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name in self.live.__all__: self.cls(node)
            if not isinstance(node, FUNCTION) or node.name.startswith('_'): continue
            if patched := any(o.startswith('patch') for o in decorators(node)):
                kind = node.args.args[0].annotation
                self.function(node, f'{ast.unparse(kind) if kind else "?"}.{node.name}', True)
            elif node.name in self.live.__all__: self.function(node, node.name)
        return self.items

def all_items(root=ROOT)->list[Item]:
    "Every public item of the package"
    paths = [o for o in sorted(root.rglob('*.py')) if not o.name.startswith('_')]
    modules = [o for o in paths if '__all__' in o.read_text()]
    return [item for o in modules for item in Module(o).interface()]

if __name__=='__main__':
    sys.path.insert(0, str(ROOT.parent))
    items = all_items()
    for name in dict.fromkeys(o.module for o in items):
        found = [o for o in items if o.module==name]
        print(f'{name:35} {sum(o.told for o in found):4} of {len(found):4}  {sum(o.told for o in found)/len(found):7.1%}')
    gaps = [o for o in items if not o.told]
    print(f'{"in all":35} {len(items)-len(gaps):4} of {len(items):4}  {1-len(gaps)/len(items):7.1%}')
    for o in gaps: print(f'fashion_fastai/{o.module.replace(".", "/")}.py:{o.line}: {o.name}')
