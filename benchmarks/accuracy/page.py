def page(judged):
    return ""
