"""What a job is and how it proceeds. Pure: values and policies, no I/O, no clock of their own.

`spec` and `job` are the nouns, as the wire, Redis and the SDK have them; `states` has the one table of transitions,
`lifecycle` what follows from a wish or from progress. `validation` and `submission` accept. `planning` cuts rows into
`tasks`, larger or smaller as `speed` becomes known; `speculation` gives slow ones a second attempt, `poison` splits
those that fail down to the rows at fault; `harvest` puts together what they gave, `ledger` counts. The story is in
docs/jobs.md.
"""
