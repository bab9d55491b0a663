"Trainings in several processes, as a launcher starts them: `python tests/helpers/launched.py FILE` runs the jobs of a JSON file in this one"
import json, os, signal, socket, subprocess, sys
from pathlib import Path

def start(n, jobs, folder)->list[list[dict]]: # for each process what became of each job
    "Run jobs in `n` processes"
    with socket.socket() as o:
        o.bind(('127.0.0.1', 0))
        port = o.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder/'jobs.json').write_text(json.dumps(jobs))
    env = os.environ|dict(WORLD_SIZE=str(n), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), OMP_NUM_THREADS='1')
    running = [subprocess.Popen([sys.executable, __file__, str(folder/'jobs.json')], env=env|dict(RANK=str(i), LOCAL_RANK=str(i)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for i in range(n)]
    said = [o.communicate(timeout=3600) for o in running]
    assert [o.returncode for o in running]==[0]*n, '\n'.join(o[1] for o in said)
    return [json.loads((folder/f'{i}.json').read_text()) for i in range(n)]

def plain():
    "No figures and no report: they take longer than the training"
    import torch
    from fashion_fastai.evaluation import artifacts
    torch.set_num_threads(1)
    artifacts.save_figures = artifacts.write_report = lambda *args: None

def _planned(job, rank):
    "What a job wants to happen on the way"
    from fashion_fastai.models.losses import FashionLoss
    from fashion_fastai.training.checkpoint import Checkpoints
    was,loss,seen,called = Checkpoints.after_batch,FashionLoss.__call__,[],[]
    def after_batch(self):
        seen.append(0)
        if [rank, len(seen)]==job.get('signal'): signal.raise_signal(signal.SIGTERM)
        was(self)
    def call(self, *args):
        called.append(0)
        return loss(self, *args)*(float('nan') if len(called)==job.get('nan') else 1)
    Checkpoints.after_batch,FashionLoss.__call__ = after_batch,call
    def undo(): Checkpoints.after_batch,FashionLoss.__call__ = was,loss
    return undo

def proof(n_draws)->dict: # largest relative differences
    "How far the loss of shared batches and its gradient are from those of one process that has all rows; of random sizes, labels and settings"
    import copy, torch
    from fashion_fastai.data.augment import Share
    from fashion_fastai.models.losses import FashionLoss
    from fashion_fastai.schema import Schema
    from fashion_fastai.target import any_of, one_of
    from fashion_fastai.training import distributed
    schema = Schema(targets=[one_of('category', ['dress','shirt','skirt']), any_of('attributes', ['belted','striped','floral']), one_of('season', ['summer','winter'])])
    def codes(draw, n, unknown): # each label unknown with this probability
        found = [torch.randint(k, shape, generator=draw) for k,shape in ((3, (n,)), (2, (n, 3)), (2, (n,)))]
        return [o.masked_fill(torch.rand(o.shape, generator=draw)<unknown, -1) for o in found]
    worst = dict(loss=0., gradient=0.)
    with distributed.distributed():
        for number in range(n_draws):
            draw,settings = torch.Generator().manual_seed(number),[{}, dict(one_of='binary'), dict(smoothing=0.1, label_weights=dict(category=[0.3,1.7,1])), dict(per_target=dict(any_of=dict(gamma=2, clip=0.05)))][number%4]
            torch.manual_seed(number)
            alone = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.GroupNorm(2, 4), torch.nn.GELU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 8)).double()
            n,loss,shared = 2+number%13,FashionLoss(schema, **settings),torch.nn.parallel.DistributedDataParallel(copy.deepcopy(alone))
            x,truth = torch.randn(n, 3, 7, 7, generator=draw).double(),codes(draw, n, (0, 0.3, 0.7, 0.95, 1)[number%5])
            wanted = loss(alone(x).split([3,3,2], dim=1), *truth)
            wanted.backward()
            loss.whole_batch_sums,own = distributed.whole_batch_sums,Share(distributed.rank(), distributed.world_size()).rows(n)
            found = loss(shared(x[own]).split([3,3,2], dim=1), *[o[own] for o in truth])
            found.backward()
            apart = max((a.grad-b.grad).abs().max()/max(1e-3, b.grad.abs().max()) for a,b in zip(shared.parameters(), alone.parameters()))
            worst = dict(loss=max(worst['loss'], (found-wanted).abs().item()), gradient=max(worst['gradient'], apart.item()))
    return worst

def run(job, rank)->dict:
    "One training: which error it ended with, if any, what it said, and how many batches there were"
    from fashion_fastai.config import make_config
    from fashion_fastai.experiments.train import train
    if 'proof' in job: return proof(job['proof'])
    said,undo = [],_planned(job, rank)
    try:
        train(make_config('two-head', job['settings']) if job['settings'] else None, job['out'], said.append, resume=job.get('resume', False))
        return dict(said=said, error=None)
    except (Exception, SystemExit) as e: return dict(said=said, error=type(e).__name__, code=getattr(e, 'code', 1), message=str(e))
    finally: undo()

if __name__=='__main__':
    plain()
    file,rank = Path(sys.argv[1]),int(os.environ['RANK'])
    found = [run(o, rank) for o in json.loads(file.read_text())]
    (file.parent/f'{rank}.json').write_text(json.dumps(found))
