rule train:
    # The checkpoint and progress.json stand beside the outputs but are none: Snakemake deletes the outputs of a job
    # that fails, and a killed training is to go on from where it was. Whether a step is due is for Snakemake to say,
    # hence --again, without which the commands do nothing a second time.
    output:
        model="<results>/{family}/{algorithm}/seed-{seed}/model.pt",
        curves="<results>/{family}/{algorithm}/seed-{seed}/train.parquet",
        record="<results>/{family}/{algorithm}/seed-{seed}/run.json",
    log:
        "<logs>/{family}/{algorithm}/seed-{seed}/train.log",
    benchmark:
        "<benchmarks>/{family}/{algorithm}/seed-{seed}/train.tsv"
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
        "python -m kshot train {params.suite} --family {wildcards.family} --algorithm {wildcards.algorithm}"
        " --seed {wildcards.seed} --threads {threads} --again > {log} 2>&1"
