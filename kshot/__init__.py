"""kshot: how well does a meta-RL algorithm do after K episodes on a task it has never seen?"""

__version__ = "0.1.0"
