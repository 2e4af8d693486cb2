"""Pages to look at: `report.html` of a run, and the comparison of several.

They are made from the files of work directories; pictures and samples are those of the tasks. Imports `rnnlab.page`,
`pictures` and the rest of `training`; nothing there imports this package except the end of a run.
"""
