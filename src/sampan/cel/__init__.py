"""The Common Expression Language: compiled once, checked against types, evaluated within a budget.

    environment = Environment({"self": STRING}, libraries)
    program = environment.compile("self.size() > 3", BOOL)          # CompileError: texts as upstream's, with carets
    program.evaluate({"self": "name"}, Budget(1_000_000))           # EvaluationError; CostExceeded

``environment`` is the way in. ``sampan.api.expressions`` adds what is Kubernetes': its libraries, types of schemas.
Source: cel-spec language definition; costs, texts and rules of types as cel-go has them. Values are plain data
(``values``). Everything here is pure: no clock, no sockets, and nothing that an expression says takes more time or
memory than its cost pays for.
"""
