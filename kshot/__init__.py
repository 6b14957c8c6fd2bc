"""kshot: how well does a meta-reinforcement-learning algorithm do after K episodes on a task it has never seen?"""

from pathlib import Path

__version__ = "0.1.0"

if not (Path(__file__).parent / "algorithms").is_dir():  # before anything fails in a less obvious way
    raise ImportError(
        "kshot/algorithms should be a link to the folder algorithms/, but this copy has lost its symbolic links; in a "
        "git checkout: git config core.symlinks true && git checkout -- kshot"
    )
