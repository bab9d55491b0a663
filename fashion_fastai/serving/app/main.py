"What `streamlit run` runs for the app: it takes a file, and the modules of this library import each other by relative names"
import sys
from fashion_fastai.serving.app.page import main

main(sys.argv[1])
