# `code`: a new or changed figure, table or statistic makes sums and reports outdated, but no run.
# A thread is a process that reads runs or draws.
rule aggregate:
    input:
        curves=files_of_runs("curve.parquet"),
        records=files_of_runs("evaluate.json"),
        trainings=files_of_runs("run.json", kind="algorithm"),
    output:
        summary="<results>/summary.csv",
        scores="<results>/scores.csv",
        cells="<results>/cells.csv",
        tasks="<results>/tasks.parquet",
        record="<results>/aggregate.json",
    log:
        "<logs>/aggregate.log",
    conda:
        "../envs/kshot.yaml"
    threads: 4
    resources:
        mem_mb=2000,
    params:
        code=reporting_digest(),
        suite=f"results/{SUITE.name}/suite.yaml",
    shell:
        "python -m kshot aggregate {params.suite} > {log} 2>&1"


# Figures and tables ask for the results too, not for their sums alone: those may come from a partial report.
rule figures:
    input:
        numbers=rules.aggregate.output,
        curves=rules.aggregate.input.curves,
        trainings=files_of_runs("train.parquet", kind="algorithm"),
    output:
        report(
            directory("<reports>/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "<logs>/figures.log",
    conda:
        "../envs/kshot.yaml"
    threads: 4
    resources:
        mem_mb=2000,
    params:
        code=reporting_digest(),
        suite=f"results/{SUITE.name}/suite.yaml",
    shell:
        "python -m kshot figures {params.suite} > {log} 2>&1"


rule paper_figures:
    input:
        numbers=rules.aggregate.output,
        curves=rules.aggregate.input.curves,
        trainings=rules.figures.input.trainings,
    output:
        directory("<reports>/paper_figures"),
    log:
        "<logs>/paper_figures.log",
    conda:
        "../envs/kshot.yaml"
    threads: 4
    resources:
        mem_mb=2000,
    params:
        code=reporting_digest(),
        suite=f"results/{SUITE.name}/suite.yaml",
    shell:
        "python -m kshot figures {params.suite} --paper > {log} 2>&1"


rule tables:
    input:
        numbers=rules.aggregate.output,
        curves=rules.aggregate.input.curves,
        official=official_records(),
    output:
        report(
            directory("<reports>/tables"),
            patterns=["{table}.csv"],
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        "<logs>/tables.log",
    conda:
        "../envs/kshot.yaml"
    resources:
        mem_mb=2000,
    params:
        code=reporting_digest(),
        suite=f"results/{SUITE.name}/suite.yaml",
    shell:
        "python -m kshot tables {params.suite} > {log} 2>&1"


rule report:
    input:
        numbers=rules.aggregate.output,
        figures=rules.figures.output,
        tables=rules.tables.output,
        official=rules.tables.input.official,
    output:
        page=report(
            "<reports>/index.html",
            caption="../report/page.rst",
            category="Report",
            labels={"page": "comparison"},
        ),
    log:
        "<logs>/report.log",
    conda:
        "../envs/kshot.yaml"
    threads: 4
    resources:
        mem_mb=2000,
    params:
        suite=f"results/{SUITE.name}/suite.yaml",
        code=reporting_digest(),
        content=SUITE.resolved(facts=False),
    shell:
        "python -m kshot report {params.suite} > {log} 2>&1"


# Chooses settings among the rows of a suite; refuses suites that are evaluated on test tasks before anything runs.
rule selection:
    input:
        selection_input,
    output:
        settings="<reports>/selection.yaml",
        reasons="<reports>/selection.md",
    log:
        "<logs>/selection.log",
    conda:
        "../envs/kshot.yaml"
    resources:
        mem_mb=2000,
    params:
        suite=f"results/{SUITE.name}/suite.yaml",
    shell:
        "python -m kshot select {params.suite} > {log} 2>&1"


# The report on what is there, while the rest is still running or after a job has failed: reports/<suite>/partial/.
# It asks for no input, so that it starts nothing and waits for nothing; the page lists the runs that are missing.
rule partial_report:
    log:
        "<logs>/partial_report.log",
    localrule: True
    conda:
        "../envs/kshot.yaml"
    params:
        suite=f"results/{SUITE.name}/suite.yaml",
        out=f"reports/{SUITE.name}/partial",
    shell:
        "(python -m kshot aggregate {params.suite} --partial"
        " && python -m kshot figures {params.suite} --out {params.out}"
        " && python -m kshot tables {params.suite} --out {params.out}"
        " && python -m kshot report {params.suite} --out {params.out} --partial) > {log} 2>&1"


# Files what a suite fidelity-<name> measured, and writes docs/fidelity.md from everything that is filed.
rule fidelity:
    input:
        rules.aggregate.output,
    output:
        f"reports/reference/fidelity/{SUITE.name}.csv",
    log:
        "<logs>/fidelity.log",
    conda:
        "../envs/kshot.yaml"
    params:
        suite=f"results/{SUITE.name}/suite.yaml",
    shell:
        "python -m kshot fidelity {params.suite} > {log} 2>&1"


# Makes reports/reference and the tables in docs/ again from the runs that are kept there, of whatever suite: trains nothing.
rule reference:
    log:
        "<logs>/reference.log",
    conda:
        "../envs/kshot.yaml"
    resources:
        mem_mb=2000,
    shell:
        "python -m kshot redraw > {log} 2>&1"


# Lists the results that were made with other code, settings or numeric libraries than are here now. That there are
# some (status 1) is what one wants to read, and no failure of the job.
rule audit:
    log:
        "<logs>/audit.log",
    localrule: True
    conda:
        "../envs/kshot.yaml"
    params:
        suite=f"results/{SUITE.name}/suite.yaml",
    shell:
        "python -m kshot audit {params.suite} 2>&1 | tee {log} || test $? -eq 1"
