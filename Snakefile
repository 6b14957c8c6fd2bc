# The entry from the root of the repository, where Snakemake looks first. The workflow itself is workflow/Snakefile, where
# the catalog of workflows, and workflows that use this one as a module, look for it.
include: "workflow/Snakefile"


# Snakemake takes no included rule for the one that is made when none is asked for.
workflow.default_target = "all"
