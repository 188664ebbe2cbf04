"""Making a document's topology so.

    identity   which object each entry of a document is: one that is there, or a new one with an id chosen
    merge      what has to change in one object: the document, what was applied before, and what is there
    plan       what has to be made, changed and deleted; raises what cannot be
    order      the plan as phases of independent operations, each of which finds what it refers to
    execute    the phases on the engine, in batches, several at once; plans again when overtaken
    record     what was last applied, kept in the store
    export     a stack, or a project, as a document

All but `execute` and `record` are pure. Nothing is kept in memory between two calls: an apply that was cut
short is gone on with by applying again, because the plan is always made against what is there.

An object belongs to a stack by a label, written in the transaction that makes it. So there is no moment at
which an object exists and its stack does not know of it.
"""
