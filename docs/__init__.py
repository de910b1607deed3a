"The site: the notebooks, the reference of every module and the glossary as pages that need no network. `python -m docs` builds it."
