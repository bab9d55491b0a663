"Every public name is documented, see helpers/docments.py"
import textwrap

from helpers.docments import Module, all_items

def test_every_public_name_is_documented():
    items = all_items()
    assert len(items)>3000 # parameters, results and fields count; fewer would mean that some were not found
    assert [f'{item.module}:{item.line}: {item.name}' for item in items if not item.documented]==[]

def test_a_gap_is_found(tmp_path, monkeypatch):
    "A name without a docstring, a parameter or field without a comment, and a result without a type are found"
    source = """\
        from dataclasses import dataclass
        __all__ = ['scale', 'Box', 'double']
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
        def double(
            x:int, # a number
        )->int:
            "Twice `x`"
            return 2*x
        """
    (tmp_path/'example.py').write_text(textwrap.dedent(source))
    monkeypatch.setattr('helpers.docments.ROOT', tmp_path)
    live = type('M', (), dict(__all__=['scale', 'Box', 'double'], Box=type('Box', (), {})))
    monkeypatch.setattr('helpers.docments.importlib.import_module', lambda name: live)
    gaps = [item.name for item in Module(tmp_path/'example.py').interface() if not item.documented]
    assert gaps==['scale', 'scale(factor)', 'scale(**kwargs)', 'scale -> ', 'Box.top', 'Box.area', 'Box.area -> list']
