def read_questions(path):
    raise NotImplementedError
