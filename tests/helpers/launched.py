"Trainings in several processes, as a launcher starts them; as a script it runs the jobs of a JSON file in one of them"
import copy, json, os, signal, socket, subprocess, sys
from pathlib import Path
import torch
from torch import nn

def start(n, jobs, folder)->list[list[dict]]: # for each process the outcome of each job
    "Run jobs in `n` processes"
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder/'jobs.json').write_text(json.dumps(jobs))
    env = os.environ|dict(WORLD_SIZE=str(n), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), OMP_NUM_THREADS='1')
    command = [sys.executable, __file__, str(folder/'jobs.json')]
    processes = [subprocess.Popen(command, env=env|dict(RANK=str(rank), LOCAL_RANK=str(rank)), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in range(n)]
    errors = [process.communicate(timeout=3600)[1] for process in processes]
    assert [process.returncode for process in processes]==[0]*n, '\n'.join(errors)
    return [json.loads((folder/f'{rank}.json').read_text()) for rank in range(n)]

def without_report():
    "Turn off figures and report, which take longer than the training; use one thread"
    from fashion_fastai.evaluation import artifacts
    torch.set_num_threads(1)
    artifacts.save_figures = artifacts.write_report = lambda *args: None

def _patch_training(job, rank):
    "Send a signal or return a loss of NaN where the job says so; return a function that undoes the patches"
    from fashion_fastai.models.losses import FashionLoss
    from fashion_fastai.training.checkpoint import Checkpoints
    original_after_batch,original_call = Checkpoints.after_batch,FashionLoss.__call__
    batches,calls = [],[]
    def after_batch(self):
        batches.append(0)
        if [rank, len(batches)]==job.get('signal'): signal.raise_signal(signal.SIGTERM)
        original_after_batch(self)
    def call(self, *args):
        calls.append(0)
        return original_call(self, *args)*(float('nan') if len(calls)==job.get('nan') else 1)
    Checkpoints.after_batch,FashionLoss.__call__ = after_batch,call
    def undo(): Checkpoints.after_batch,FashionLoss.__call__ = original_after_batch,original_call
    return undo

# the loss and the gradient of shared batches

LOSS_SETTINGS = [{}, dict(one_of='binary'), dict(smoothing=0.1, label_weights=dict(category=[0.3,1.7,1])),
    dict(per_target=dict(any_of=dict(gamma=2, clip=0.05), one_of=dict(double_softmax=True))),
    dict(binary_mean='outputs'), dict(one_of='binary', binary_mean='outputs')]
UNKNOWN = 0, 0.3, 0.7, 0.95, 1 # share of unknown labels

def _random_codes(generator, n, unknown): # each label is unknown with this probability
    codes = [torch.randint(high, shape, generator=generator) for high,shape in ((3, (n,)), (2, (n, 3)), (2, (n,)))]
    return [code.masked_fill(torch.rand(code.shape, generator=generator)<unknown, -1) for code in codes]

def _draw_differences(number, schema)->tuple[float, float]: # of the loss, absolute; of the gradient, relative
    "Draw a network, a batch, labels and settings; compare a shared batch with one process that has all rows"
    from fashion_fastai.data.augment import Share
    from fashion_fastai.models.losses import FashionLoss
    from fashion_fastai.training import distributed
    generator,n = torch.Generator().manual_seed(number),2+number%13
    torch.manual_seed(number)
    pooling = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    alone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.GELU(), *pooling, nn.Linear(4, 8)).double()
    shared = nn.parallel.DistributedDataParallel(copy.deepcopy(alone))
    images,truths = torch.randn(n, 3, 7, 7, generator=generator).double(),_random_codes(generator, n, UNKNOWN[number%5])
    loss = FashionLoss(schema, **LOSS_SETTINGS[number%len(LOSS_SETTINGS)])
    expected = loss(alone(images).split([3,3,2], dim=1), *truths)
    expected.backward()
    own = Share(distributed.rank(), distributed.world_size()).rows(n)
    loss.whole_batch_sums = distributed.whole_batch_sums
    found = loss(shared(images[own]).split([3,3,2], dim=1), *[truth[own] for truth in truths])
    found.backward()
    gradients = [(a.grad, b.grad) for a,b in zip(shared.parameters(), alone.parameters())]
    return (found-expected).abs().item(), max(((a-b).abs().max()/max(1e-3, b.abs().max())).item() for a,b in gradients)

def proof(n_draws)->dict: # largest differences
    "Compare loss and gradient of shared batches with those of one process, for random sizes, labels and settings"
    from fashion_fastai.schema import Schema
    from fashion_fastai.target import any_of, one_of
    from fashion_fastai.training.distributed import distributed
    category,season = one_of('category', ['dress','shirt','skirt']),one_of('season', ['summer','winter'])
    schema = Schema(targets=[category, any_of('attributes', ['belted','striped','floral']), season])
    with distributed(): losses,gradients = zip(*[_draw_differences(number, schema) for number in range(n_draws)])
    return dict(loss=max(losses), gradient=max(gradients))

def run(job, rank)->dict: # printed lines; error with its name, exit code and message, or None
    "Run one job: a training, or the proof"
    from fashion_fastai.config import make_config
    from fashion_fastai.experiments.train import train
    if 'proof' in job: return proof(job['proof'])
    lines,undo = [],_patch_training(job, rank)
    try:
        config = make_config('two-head', job['settings']) if job['settings'] else None
        train(config, job['out'], lines.append, resume=job.get('resume', False))
        return dict(lines=lines, error=None)
    except (Exception, SystemExit) as e:
        return dict(lines=lines, error=type(e).__name__, code=getattr(e, 'code', 1), message=str(e))
    finally: undo()

if __name__=='__main__':
    without_report()
    file,rank = Path(sys.argv[1]),int(os.environ['RANK'])
    outcomes = [run(job, rank) for job in json.loads(file.read_text())]
    (file.parent/f'{rank}.json').write_text(json.dumps(outcomes))
