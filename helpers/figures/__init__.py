"""Every matplotlib figure of the notebooks: functions of plain arrays that return a Figure, in one shared style.

`style` holds the look; each other module holds the figures of one notebook.
"""
