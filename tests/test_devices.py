"Several processes train as one does: the same loss and gradient, the same network, history and scores in the end"
import os, subprocess, sys
import pandas as pd, pytest, torch, yaml
from safetensors.torch import load_file
from helpers import launched
from fashion_fastai.config import merge_settings, make_config
from fashion_fastai.evaluation.predictions import read_predictions
from fashion_fastai.core.errors import UsageError
from fashion_fastai.experiments.train import train
from fashion_fastai.run import open_run
from fashion_fastai.training.checkpoint import newest_checkpoint

SMALL = dict(model=dict(arch='test_convnext', weights='none'), image=dict(size=32), training=dict(batch_size=16, optimizer='sgd', checkpoint_minutes=60,
    stages=[dict(unfrozen=0, epochs=1, lr=1e-2), dict(unfrozen=3, epochs=2, lr=4e-3, lr_body=1e-3)]))
WILD = dict(image=dict(size=32, load_size=40, augment=dict(random_crop=0.5, hue=0.1, lighting=0.2)), training=dict(sampler='balanced', optimizer='adamw', micro_batch_size=5),
    loss=dict(task_weights='uncertainty', class_weights='balanced'))
MIXED = dict(model=dict(arch='test_resnet'), image=dict(size=32, augment=dict(mixup=0.4, cutmix=1)), training=dict(precision='bfloat16'), loss=dict(per_target={'any_of': dict(drop_negatives=0.2)}), data=dict(cache='none'))
VARIANTS = dict(plain={}, wild=WILD, mixed=MIXED)

@pytest.fixture(scope='module')
def few(sample):
    "A small table with holes: three batches of sixteen, and fifteen rows held out"
    table = pd.read_csv(sample, keep_default_na=False)
    table = pd.concat([table[table.split=='train'].head(48), table[table.split=='valid'].head(15)]).reset_index(drop=True)
    table.loc[table.index%3==0, 'category'] = ''
    table.loc[table.index%5<2, 'attributes'] = '?'
    table.to_csv(sample.parent/'holes.csv', index=False)
    return sample.parent/'holes.csv'

def settings(variant, table): return merge_settings(merge_settings(SMALL, VARIANTS[variant]), dict(data=dict(path=str(table))))

@pytest.fixture
def alone(monkeypatch):
    "Train in this process"
    for o in ('save_figures', 'write_report'): monkeypatch.setattr(f'fashion_fastai.evaluation.artifacts.{o}', lambda *args: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda fields, out: train(make_config('two-head', fields), out, lambda _: None)
    torch.set_num_threads(threads)

def differences(one, other)->dict: # largest ones
    "How far two runs are apart: weights and buffers, validation loss, all numbers of the history, probabilities of the validation split"
    a,b = [load_file(o/'model.safetensors') for o in (one, other)]
    assert a.keys()==b.keys()
    weights = max((a[k].double()-b[k].double()).abs().max().item() for k in a)
    rows = [pd.read_csv(o/'history.csv').drop(columns='seconds') for o in (one, other)]
    assert list(rows[0])==list(rows[1])
    c,d = [read_predictions(o/'predictions/valid.parquet').probs for o in (one, other)]
    loss,history = [(o[0]-o[1]).abs().to_numpy().max() for o in ([r['valid/loss'] for r in rows], rows)]
    return dict(weights=weights, loss=float(loss), history=float(history), probs=max(float(abs(c[k]-d[k]).max()) for k in c))

@pytest.mark.parametrize('n', [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_loss_and_its_gradient_are_those_of_the_whole_batch(tmp_path, n):
    "In 64 bits, without batch norm, for any mix of missing labels"
    found = launched.start(n, [dict(proof=30)], tmp_path/'jobs')
    print(found)
    assert all(job['loss']<1e-9 and job['gradient']<1e-9 for process in found for job in process), found

def one_tells(*jobs)->list[dict]: # the one that reports the error first
    "Which of several processes reports what went wrong; the others end without a word"
    jobs = sorted(jobs, key=lambda job: job['error']=='EndedElsewhere')
    assert [job['error']=='EndedElsewhere' for job in jobs]==[False]+[True]*(len(jobs)-1), jobs
    return jobs

def test_two_processes_train_as_one(few, alone, tmp_path):
    "Labels are missing, the last batch of the validation split cannot be halved; a wrong batch size is reported once and ends both"
    fields = settings('plain', few)
    jobs = [dict(settings=fields, out=str(tmp_path/'two')), dict(settings=merge_settings(fields, dict(training=dict(batch_size=15))), out=str(tmp_path/'none'))]
    first,second = launched.start(2, jobs, tmp_path/'jobs')
    assert first[0]['error'] is None and second[0]['error'] is None and first[0]['said'] and not second[0]['said'], (first, second)
    alone(fields, tmp_path/'one')
    found = differences(tmp_path/'one', tmp_path/'two')
    print(found)
    assert all(o<1e-5 for o in found.values()), found
    told,silent = one_tells(first[1], second[1])
    assert (told['error'], told['code'], silent['code'])==('UsageError', 2, 2)
    assert 'cannot be shared by 2 processes; 14 or 16 can' in told['message'] and not (tmp_path/'none').exists()

@pytest.mark.slow
def test_all_that_is_drawn_and_weighed(few, alone, tmp_path):
    "Weighted rows, random crops and colours, learned task weights, micro-batches; and, as a training of the same kind, what each process does with its own rows: MixUp and CutMix, batch norm, labels left out by rank"
    first,second = launched.start(2, [dict(settings=settings(o, few), out=str(tmp_path/o)) for o in ('wild', 'mixed')], tmp_path/'jobs')
    assert all(o['error'] is None for o in first+second), (first, second)
    alone(settings('wild', few), tmp_path/'one')
    found = differences(tmp_path/'one', tmp_path/'wild')
    print(found)
    assert found['loss']<1e-3 and found['probs']<1e-3, found
    alone(settings('mixed', few), tmp_path/'mixed-one')
    rows = [pd.read_csv(tmp_path/o/'history.csv') for o in ('mixed', 'mixed-one')]
    assert rows[0]['valid/loss'].notna().all() and (rows[0]['valid/loss']-rows[1]['valid/loss']).abs().max()<0.5

@pytest.mark.slow
def test_the_linear_probe_and_a_searched_rate(few, alone, tmp_path):
    "The first process solves the heads for all; all search the rate together. The body stays frozen: on so few images a unfrozen one magnifies the last digit to the first"
    fields = merge_settings(settings('plain', few), dict(model=dict(arch='tf_efficientnet_lite0', weights='package'), training=dict(stages=None, epochs=2, lr='auto', unfreeze='heads_only')))
    first,second = launched.start(2, [dict(settings=fields, out=str(tmp_path/'two'))], tmp_path/'jobs')
    assert (first[0]['error'] is None)==(second[0]['error'] is None) and any('linear probe' in o for o in first[0]['said']), (first, second)
    if first[0]['error']: # no rate is suggested, as in one process
        assert 'lr_find suggests no rate' in first[0]['message']
        with pytest.raises(UsageError, match='lr_find suggests no rate'): alone(fields, tmp_path/'one')
        return
    run = alone(fields, tmp_path/'one')
    assert run.config.training.lr==pytest.approx(open_run(tmp_path/'two').config.training.lr, rel=1e-2)
    found = differences(tmp_path/'one', tmp_path/'two')
    print(found)
    assert found['loss']<1e-3, found

@pytest.mark.slow
def test_cut_off_and_going_on(few, tmp_path):
    "One of three processes hears a signal: all stop behind the same batch; the training goes on in two, and ends where one ends that was never cut off"
    fields,out = merge_settings(settings('plain', few), dict(training=dict(batch_size=12))),tmp_path/'run'
    found = launched.start(3, [dict(settings=fields, out=str(tmp_path/'whole')), dict(settings=fields, out=str(out), signal=[1, 8])], tmp_path/'jobs')
    assert [o[1]['code'] for o in found]==[143]*3 and [o[1]['error'] for o in found].count('TrainingInterrupted')==1, found
    assert newest_checkpoint(out/'checkpoint')['at']['batch']>0
    found = launched.start(2, [dict(settings=None, out=str(out), resume=True)], tmp_path/'jobs2')
    assert all(o[0]['error'] is None for o in found), found
    apart = differences(tmp_path/'whole', out)
    print(apart)
    assert all(o<1e-5 for o in apart.values()), apart

@pytest.mark.slow
def test_numbers_that_go_wrong(few, tmp_path):
    "A loss that is not finite stops both, and the images of the whole batch are named; so does an image that only one finds damaged"
    table = pd.read_csv(few, keep_default_na=False)
    table.loc[20, 'file'] = 'damaged.jpg'
    (few.parent/'damaged.jpg').write_bytes((few.parent/table.file[3]).read_bytes()[:300])
    table.to_csv(few.parent/'damaged.csv', index=False)
    jobs = [dict(settings=settings('plain', few), out=str(tmp_path/'run'), nan=6),
        dict(settings=merge_settings(settings('plain', few.parent/'damaged.csv'), dict(data=dict(cache='none'))), out=str(tmp_path/'damaged'))]
    first,second = launched.start(2, jobs, tmp_path/'jobs')
    told,silent = one_tells(first[0], second[0])
    assert (told['error'], told['code'], silent['code'])==('TrainingInterrupted', 1, 1)
    assert 'the loss is nan in epoch 2' in told['message'] and 'and 8 more' in told['message']
    told,silent = one_tells(first[1], second[1])
    assert 'damaged.jpg: is damaged' in told['message'] and silent['code']==2, (first, second)

COMMAND = '-m', 'fashion_fastai.cli', 'train', '--arch', 'test_resnet', '--weights', 'none', '--size', '32', '--epochs', '1'

ACCELERATE = dict(compute_environment='LOCAL_MACHINE', distributed_type='MULTI_GPU', mixed_precision='bf16', num_machines=1, num_processes=2, machine_rank=0, rdzv_backend='static', same_network=True, use_cpu=False)

@pytest.mark.slow
@pytest.mark.parametrize('launcher', ['torchrun', 'accelerate'])
def test_launchers(few, tmp_path, launcher):
    "Three processes by torchrun; two by accelerate, whose precision is taken over, and contradicted"
    (tmp_path/'accelerate.yaml').write_text(yaml.safe_dump(ACCELERATE))
    start = dict(torchrun=['torch.distributed.run', '--nproc-per-node=3'], accelerate=['accelerate.commands.launch', f'--config_file={tmp_path}/accelerate.yaml'])[launcher]
    command = [sys.executable, '-m', *start, *COMMAND, '--batch-size', '15' if launcher=='torchrun' else '16', '--data', str(few), '--out', str(tmp_path/'run')]
    def run(*more): return subprocess.run([*command, *more], capture_output=True, text=True, env=os.environ|dict(OMP_NUM_THREADS='1'))
    done = run()
    assert done.returncode==0 and (tmp_path/'run/metrics.json').is_file(), done.stderr
    assert done.stderr.count('epoch 1 of 1')==1
    assert open_run(tmp_path/'run').config.training.precision==dict(torchrun='float32', accelerate='bfloat16')[launcher]
    again = run()
    assert again.returncode==1 and again.stderr.count('exists already')==1 and again.stderr.count('exitcode  : 2')+again.stderr.count('exitcode: 2')>=1, again.stderr
    if launcher=='torchrun': return
    other = run('--set', 'training.precision=float32', '--out', str(tmp_path/'other'))
    assert other.returncode==1 and other.stderr.count('mixed precision bf16, but training.precision is float32')==1, other.stderr

@pytest.mark.cuda
def test_two_graphics_cards(few, alone, tmp_path):
    if torch.cuda.device_count()<2: pytest.skip('needs two GPUs')
    fields = merge_settings(settings('plain', few), dict(training=dict(precision='float32')))
    first,second = launched.start(2, [dict(settings=fields, out=str(tmp_path/'two'))], tmp_path/'jobs')
    assert first[0]['error'] is None and second[0]['error'] is None, (first, second)
    alone(fields, tmp_path/'one')
    assert differences(tmp_path/'one', tmp_path/'two')['loss']<1e-3
