rule evaluate:
    input:
        model=rules.train.output.model,
    output:
        curve="<results>/{family}/{algorithm}/seed-{seed}/curve.parquet",
        record="<results>/{family}/{algorithm}/seed-{seed}/evaluate.json",
    log:
        "<logs>/{family}/{algorithm}/seed-{seed}/evaluate.log",
    benchmark:
        "<benchmarks>/{family}/{algorithm}/seed-{seed}/evaluate.tsv"
    conda:
        "../envs/kshot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        gpu=gpus,
    params:
        suite=f"results/{SUITE.name}/suite.yaml",
        settings=evaluation_hash,
        code=code,
    shell:
        "python -m kshot evaluate {params.suite} --family {wildcards.family} --algorithm {wildcards.algorithm}"
        " --seed {wildcards.seed} --threads {threads} --again > {log} 2>&1"


# Scripted policies (random, task-blind, oracle) come with the family: there is nothing to train.
rule evaluate_reference:
    output:
        curve="<results>/{family}/{algorithm}/seed-{seed}/curve.parquet",
        record="<results>/{family}/{algorithm}/seed-{seed}/evaluate.json",
    log:
        "<logs>/{family}/{algorithm}/seed-{seed}/evaluate.log",
    benchmark:
        "<benchmarks>/{family}/{algorithm}/seed-{seed}/evaluate.tsv"
    wildcard_constraints:
        algorithm=any_of(
            name for cell in SUITE.families.values() for name in cell.references
        ),
    conda:
        "../envs/kshot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        suite=f"results/{SUITE.name}/suite.yaml",
        settings=evaluation_hash,
        code=code,
    shell:
        "python -m kshot evaluate {params.suite} --family {wildcards.family} --algorithm {wildcards.algorithm}"
        " --seed {wildcards.seed} --threads {threads} --again > {log} 2>&1"


# Metaworld's own evaluation, for the families that ask for it. It waits for ours, because one process at a time works
# on a run.
rule official:
    input:
        model=rules.train.output.model,
        record=rules.evaluate.output.record,
    output:
        record="<results>/{family}/{algorithm}/seed-{seed}/official.json",
    log:
        "<logs>/{family}/{algorithm}/seed-{seed}/official.log",
    benchmark:
        "<benchmarks>/{family}/{algorithm}/seed-{seed}/official.tsv"
    wildcard_constraints:
        family=any_of(
            name for name, cell in SUITE.families.items() if cell.evaluation.official
        ),
    conda:
        "../envs/kshot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        gpu=gpus,
    params:
        suite=f"results/{SUITE.name}/suite.yaml",
        settings=training_hash,
        code=code,
    shell:
        "python -m kshot official {params.suite} --family {wildcards.family} --algorithm {wildcards.algorithm}"
        " --seed {wildcards.seed} --threads {threads} --again > {log} 2>&1"
