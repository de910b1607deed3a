"Many jobs: a table or a folder says which, a failing one does not stop the others, what is done stays done, processes share the work."
import json
import multiprocessing
import os
import re
import socket
from contextlib import redirect_stderr, redirect_stdout

import pytest
from accelerate import PartialState
from app_cases import SOURCE, TARGET, clip, tiny  # noqa: F401
from PIL import Image

from videodirector.app import jobs
from videodirector.app.batch import job_of, read_jobs, words_of
from videodirector.app.cli import main, parser
from videodirector.data.video import read_video

SMALL = '--steps 2 --inner-steps 1 --frames 2 --size 16x16 --quiet'.split()


@pytest.fixture
def table(clip, tmp_path):
    "Writes a table beside the clip's copy; returns its path."
    (tmp_path / 'clip.mp4').write_bytes(clip.read_bytes())
    (tmp_path / 'mask.npz').write_bytes(clip.with_name('mask.npz').read_bytes())
    def table(*lines):
        (tmp_path / 'jobs.csv').write_text('\n'.join(lines))
        return tmp_path / 'jobs.csv'
    return table


@pytest.fixture
def batch(tiny, tmp_path, capsys, monkeypatch):
    "Runs `videodirector batch` on the tiny model, and counts how often it is loaded; returns exit code, rows, stderr."
    loaded = []
    monkeypatch.setattr(jobs, 'load_model', lambda args: loaded.append(args.model) or (tiny, None))
    for drawn in ('videodirector.app.jobs.draw_words', 'videodirector.show.clips.write_gif'): monkeypatch.setattr(drawn, lambda *args: None)
    def batch(path, *flags):
        loaded.clear(), capsys.readouterr()
        code = main(['batch', str(path), '--out', str(tmp_path / 'out'), '--json', *SMALL, *flags])
        out, error = capsys.readouterr()
        return code, json.loads(out)['rows'] if out else [], error
    batch.loaded = loaded
    return batch


THREE = ('video,source,target,name,mask,tau_s,weight,mutual', f'clip.mp4,{SOURCE},{TARGET},one,mask.npz,0.5,tiger=2; walking=0.5,false',
         f'clip.mp4,{SOURCE},a zebra on a very long road that no tiny model reads to its end,two,,,,', f'clip.mp4,{SOURCE},"a bear, walking",three,,,,')


def test_a_failing_job_does_not_stop_the_others(batch, table, tmp_path):
    code, rows, error = batch(table(*THREE))
    assert [(row['job'], row['status']) for row in rows] == [('one', 'done'), ('two', 'failed'), ('three', 'done')]
    assert code == 2 and 'target prompt has' in rows[1]['why'] and '1 of 3 jobs failed (two)' in error and len(batch.loaded) == 1
    assert {file.name for file in (tmp_path / 'out').iterdir()} == {'one', 'two', 'three', 'report.json', 'table.md', 'sheet.png'}
    assert (tmp_path / 'out/three/edited.mp4').exists() and [f.name for f in (tmp_path / 'out/two').iterdir()] == ['job.json']
    assert len((tmp_path / 'out/table.md').read_text().splitlines()) == 5 and Image.open(tmp_path / 'out/sheet.png').height == 2 * 110
    asked = json.loads((tmp_path / 'out/one/job.json').read_text())['asked']
    assert asked['mutual'] == 'False' and asked['tau_s'] == '0.5' and asked['weights'] == "[('tiger', 2.0), ('walking', 0.5)]"
    assert rows[0]['outside'] and read_video(tmp_path / 'out/one/edited.mp4', None).shape == (2, 3, 16, 16)


def test_a_second_start_does_what_is_not_done(batch, table, tmp_path):
    batch(table(*THREE))
    def times(): return {name: (tmp_path / f'out/{name}/edited.mp4').stat().st_mtime_ns for name in ('one', 'three')}
    before = times()
    mended = (*THREE[:2], THREE[2].replace('a zebra on a very long road that no tiny model reads to its end', TARGET), THREE[3])
    code, rows, _ = batch(table(*mended))
    assert code == 0 and [row['status'] for row in rows] == ['done'] * 3 and times() == before
    assert batch(table(*mended))[0] == 0 and batch.loaded == []
    batch(table(*mended[:3], mended[3].replace('walking"', 'walking on grass"')))  # asked otherwise
    after = times()
    assert after['one'] == before['one'] and after['three'] != before['three'] and len(batch.loaded) == 1
    batch(table(*mended[:2]), '--overwrite')
    assert times()['one'] != before['one']


def test_a_stopped_batch_goes_on(batch, table, tmp_path, monkeypatch):
    real, calls = jobs.run_edit, []
    def stopped(args, load):
        calls.append(args.out.name)
        if len(calls) == 2: raise KeyboardInterrupt
        return real(args, load)
    monkeypatch.setattr(jobs, 'run_edit', stopped)
    code, rows, error = batch(table(THREE[0], THREE[1], THREE[3]))
    assert code == 130 and rows == [] and 'go on with the same command and --out' in error
    assert batch(table(THREE[0], THREE[1], THREE[3]))[0] == 0 and calls == ['one', 'three', 'three']


def test_a_folder_is_a_table_too(tmp_path):
    for name in ('bear.mp4', 'fox.gif', 'bear.npz', 'notes.md'): (tmp_path / name).touch()
    (tmp_path / 'fox_mask').mkdir()
    (tmp_path / 'bear.txt').write_text('a bear\n\na tiger\na red bear\n')
    (tmp_path / 'fox.txt').write_text('a fox')
    assert read_jobs(tmp_path) == [
        dict(video='bear.mp4', source='a bear', mask='bear.npz', target='a tiger', name='bear-a_tiger'),
        dict(video='bear.mp4', source='a bear', mask='bear.npz', target='a red bear', name='bear-a_red_bear'),
        dict(video='fox.gif', source='a fox', mask='fox_mask', target='', name='fox')]
    (tmp_path / 'wolf.txt').write_text('a wolf')
    with pytest.raises(ValueError, match='wolf.txt.* needs one clip of its name and a line of text, and there are 0 and 1'): read_jobs(tmp_path)


def test_cells_are_options(table, tmp_path):
    path = table('video,target,preset,steps,tau_s', 'clip.mp4,a tiger,,3,', 'clip.mp4,,bear,,0.2', '/films/clip.mp4,,bear,,0.2')
    args = parser().parse_args(['batch', str(path), '--out', 'out', '--steps', '9', '--preset', 'paper', '--weight', 'tiger=2'])
    first, second, third = (job_of(args, row) for row in read_jobs(path))
    assert (first.steps, first.preset, first.tau_s, first.weights, first.out.name) == (3, 'paper', None, [('tiger', 2.)], 'clip-a_tiger')
    assert (second.steps, second.preset, second.tau_s, second.target, second.out.name) == (9, 'bear', .2, None, 'clip-bear')
    assert second.video == tmp_path / 'clip.mp4' and str(third.video) == '/films/clip.mp4' and third.out.name == 'clip-bear-2'
    assert words_of(dict(video='-x.mp4', stdg='true', layout='FALSE', point='1,2; 3,4,0')) == ['--stdg', '--no-layout', '--point=1,2', '--point=3,4,0', '--', '-x.mp4']


def test_a_row_may_name_a_method_of_its_own(table):
    path = table('video,source,target,method,shuffle_seed', 'clip.mp4,a,b,rave,7', 'clip.mp4,a,b,,')
    args = parser().parse_args(['batch', str(path), '--out', 'out', '--steps', '9'])
    first, second = (job_of(args, row) for row in read_jobs(path))
    assert (first.method, first.shuffle_seed, first.steps, second.method) == ('rave', 7, 9, 'videodirector') and not hasattr(second, 'shuffle_seed')


@pytest.mark.parametrize('lines, message', [
    (['video,target'], 'holds no jobs'), (['name,target', 'a,b'], 'Row 2 .* names no video'), (['video,target', 'a.mp4,b,c'], 'more cells than there are columns')])
def test_what_is_no_table_is_refused(batch, table, tmp_path, lines, message):
    code, rows, error = batch(table(*lines))
    assert code == 2 and re.search(message, error) and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('column, cell, message', [
    ('colour', 'red', 'unrecognized arguments: --colour=red'), ('steps', 'many', 'steps'), ('preset', 'x', "no preset 'x'"), ('layout', 'yes', 'layout')])
def test_a_wrong_cell_fails_its_row(batch, table, column, cell, message):
    code, rows, _ = batch(table(f'video,source,target,{column}', f'clip.mp4,{SOURCE},{TARGET},{cell}'))
    assert code == 2 and rows[0]['status'] == 'failed' and message in rows[0]['why']


def one_of_two(rank, port, folder, words):
    "What a launcher makes of a process, then the command; what it says goes to a file."
    os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), ACCELERATE_USE_CPU='1')
    PartialState._reset_state()  # of tests before
    with open(folder / f'said{rank}', 'w') as file, redirect_stdout(file), redirect_stderr(file): code = main(words)
    os._exit(code)


def test_two_processes_share_the_work(batch, table, tmp_path, monkeypatch):
    real, own = jobs.run_edit, tmp_path / 'own'
    own.mkdir()
    def told(args, load):
        (own / f'{os.environ["RANK"]} {args.out.name}').touch()
        return real(args, load)
    monkeypatch.setattr(jobs, 'run_edit', told)
    with socket.create_server(('127.0.0.1', 0)) as free: port = free.getsockname()[1]
    words = ['batch', str(table(*THREE)), '--out', str(tmp_path / 'out'), '--device', 'cpu', *SMALL, '--inner-steps', '0']
    context = multiprocessing.get_context('fork')  # with what is imported already
    team = [context.Process(target=one_of_two, args=(rank, port, tmp_path, words)) for rank in range(2)]
    for process in team: process.start()
    for process in team: process.join(300)
    assert {path.name for path in own.iterdir()} == {'0 one', '0 two', '1 three'}, [(tmp_path / f'said{rank}').read_text() for rank in range(2)]
    assert [process.exitcode for process in team] == [2, 0]
    rows = json.loads((tmp_path / 'out/report.json').read_text())['rows']
    assert [row['status'] for row in rows] == ['done', 'failed', 'done']
    said = [(tmp_path / f'said{rank}').read_text() for rank in range(2)]
    assert '1 of 3 jobs failed (two)' in said[0] and '| job |' in said[0] and '| job |' not in said[1]
