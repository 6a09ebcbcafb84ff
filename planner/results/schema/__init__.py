"""The JSON documents of the commands, key by key: types for programs, texts for the reference.

In: nothing. Out: TypedDicts that `to_dict` of each result returns; `json_schema` is made of them.
Convention: keys are added, never changed or removed; what is not known is null; sizes are bytes,
times seconds, ranges [low, high]. The engine "emulated" is a card that is not there.
"""
