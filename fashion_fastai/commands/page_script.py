"The script of every page: `streamlit run` takes a file, and the modules of this package use relative imports"
import sys
from importlib import import_module

if __name__=='__main__': import_module(sys.argv[1]).main(*sys.argv[2:])
