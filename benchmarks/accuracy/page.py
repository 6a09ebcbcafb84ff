def page(judged): return ''
