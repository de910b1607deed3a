"A local Ray cluster of two workers does a table of jobs, also where a process dies in the middle."
import argparse
import json
import os
import sys
from threading import Thread

import pytest

from videodirector.app import batch, cluster, jobs
from videodirector.app.cli import main

ROWS = [dict(name=name, video='clip.mp4', source='a bear', target='a tiger') for name in ('one', 'two', 'three', 'four')]


def asked(home, *words):
    "The options of the command, as `on_cluster` hands them on."
    (home / 'jobs.csv').touch()
    from videodirector.app.cli import parser
    args = parser().parse_args(['batch', str(home / 'jobs.csv'), '--out', str(home / 'out'), '--quiet', *words])
    args.run = args.show = None
    return args


def test_a_job_whose_process_dies_is_done_by_another(tmp_path):
    class Mortal(batch.Jobs):
        "The second job kills its process once, the third always, the fourth fails."
        def __init__(self, *given):
            super().__init__(*given)
            def run_edit(job, load):
                tries = job.out.parent / f'{job.out.name}.tries'
                with open(tries, 'a') as file: file.write('x')
                count = len(tries.read_text())
                if job.out.name == 'two' and count == 1 or job.out.name == 'three': os._exit(1)
                if job.out.name == 'four': raise ValueError('The clip is a picture.')
                return dict(psnr={}, edit={}, seconds=dict(total=count))
            jobs.run_edit = run_edit  # in a process of its own

    (tmp_path / 'out').mkdir()
    sharing = Thread(target=cluster.share_out, args=(Mortal, (asked(tmp_path), ROWS), len(ROWS), 'local', 2, False), daemon=True)
    sharing.start()
    sharing.join(600)
    assert not sharing.is_alive(), 'the cluster hangs'
    found = {row['name']: batch.read_record(tmp_path / 'out' / row['name'] / 'job.json') for row in ROWS}
    assert [found[name]['status'] for name in ('one', 'two', 'three', 'four')] == ['done', 'done', 'failed', 'failed']
    assert found['two']['seconds'] == 2 and found['three']['why'] == 'Its process died, 3 times.' and 'picture' in found['four']['why']
    assert not any('begun' in row for row in found.values())


def test_done_jobs_stay_done_and_others_are_counted(tmp_path, monkeypatch):
    args, calls = asked(tmp_path), []
    monkeypatch.setattr(jobs, 'run_edit', lambda job, load: calls.append(job.overwrite) or dict(psnr={}, edit={}, seconds=dict(total=1)))
    worker, record = batch.Jobs(args, ROWS), tmp_path / 'out/one/job.json'
    worker(0)
    before = record.read_text()
    worker(0)
    assert calls == [True] and record.read_text() == before and json.loads(before)['status'] == 'done'
    batch.write_record(record, json.loads(before) | dict(begun=3))
    worker(0)
    assert len(calls) == 1 and batch.read_record(record)['why'] == 'Its process died, 3 times.'
    worker(0)  # the next command begins anew
    assert len(calls) == 2 and batch.read_record(record)['status'] == 'done'


def test_the_command_hands_its_jobs_to_the_cluster(tmp_path, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(batch, 'share_out', lambda *args: given.append(args))
    (tmp_path / 'jobs.csv').write_text('video,source,target\nclip.mp4,a bear,a tiger\n')
    monkeypatch.chdir(tmp_path)
    assert main(['batch', 'jobs.csv', '--out', 'out', '--ray', 'auto', '--workers', '3', '--quiet']) == 2
    (worker, (args, rows), count, address, workers, progress), = given
    assert worker is batch.Jobs and count == len(rows) == 1 and (address, workers, progress) == ('auto', 3, False)
    assert args.out == tmp_path / 'out' and args.jobs == tmp_path / 'jobs.csv' and '1 of 1 jobs failed' in capsys.readouterr().err
    job = batch.job_of(args, rows[0])
    assert job.video == tmp_path / 'clip.mp4' and not hasattr(job, 'ray')


@pytest.mark.parametrize('words', [('--workers', '2'), ('--workers', '0', '--ray', 'local'), ('--workers', '-1', '--ray', 'local')])
def test_workers_are_those_of_a_cluster(tmp_path, capsys, words):
    (tmp_path / 'jobs.csv').touch()
    assert main(['batch', str(tmp_path / 'jobs.csv'), '--out', str(tmp_path / 'out'), *words]) == 2
    assert 'give at least 1, and the cluster by --ray.' in capsys.readouterr().err and not (tmp_path / 'out').exists()


def test_without_ray_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray.data', None)
    with pytest.raises(ImportError, match=r'pip install "videodirector\[cluster\]"'):
        cluster.share_out(batch.Jobs, (argparse.Namespace(), []), 0, 'local')
