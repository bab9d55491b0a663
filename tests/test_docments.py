"Every public name is described, see docments.py"
import textwrap
from docments import Module, all_items

def test_every_public_name_is_described():
    items = all_items()
    assert len(items)>3000 # parameters, results and fields count, so fewer were not looked at
    assert [f'{o.module}:{o.line}: {o.name}' for o in items if not o.told]==[]

def test_a_gap_is_found(tmp_path, monkeypatch):
    "The check would notice a name without a docstring, a parameter or field without a comment, and a result without a type"
    source = """\
        from dataclasses import dataclass
        __all__ = ['scale', 'Box', 'told']
        def scale(
            x, # a number
            factor:float=2,
            **kwargs,
        ): return x*factor
        @dataclass
        class Box:
            "A box"
            left:int # pixels
            top:int
            def area(self)->list: return [self.left]
            def _hidden(self, a): return a
        def told(
            x:int, # a number
        )->int:
            "Twice `x`"
            return 2*x
        """
    (tmp_path/'example.py').write_text(textwrap.dedent(source))
    monkeypatch.setattr('docments.ROOT', tmp_path)
    monkeypatch.setattr('docments.importlib.import_module', lambda name: type('M', (), dict(__all__=['scale', 'Box', 'told'], Box=type('Box', (), {}))))
    gaps = [o.name for o in Module(tmp_path/'example.py').interface() if not o.told]
    assert gaps==['scale', 'scale(factor)', 'scale(**kwargs)', 'scale -> ', 'Box.top', 'Box.area', 'Box.area -> list']
