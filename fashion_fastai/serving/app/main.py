"The script of the app: `streamlit run` takes a file, and the modules of this package use relative imports"
import sys
from fashion_fastai.serving.app.page import main

main(sys.argv[1])
