"The light distribution, the images and the files for Compose, Kubernetes and Ray agree with the library; what the serving image runs is run step by step"
import ast, json, re, shlex, shutil, subprocess, sys, zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
import pytest, yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT/'deploy'
if not DEPLOY.is_dir(): pytest.skip('an archive without deploy/', allow_module_level=True)
sys.path.insert(0, str(DEPLOY))
import serve_wheel

# ---- the light distribution

def needed(name, seen):
    "Add to `seen` the distribution `name` and all that it requires"
    name = re.match(r'[\w.-]+', name)[0].lower().replace('_', '-')
    if name in seen: return seen
    try: seen[name] = found = distribution(name)
    except PackageNotFoundError: return seen # for another platform or Python
    for line in found.requires or []:
        if 'extra ==' not in line: needed(line, seen)
    return seen

def light_packages():
    seen = {}
    for line in serve_wheel.requirements(): needed(line, seen)
    return seen

def add_to(site, packages):
    for found in packages.values():
        for top in {path.parts[0] for path in found.files if path.parts[0] not in ('..', '__pycache__')}:
            if not (site/top).exists(): (site/top).symlink_to(found.locate_file(top))

def light_site(folder):
    "Return a folder of packages that has only the light distribution and what it requires"
    folder.mkdir()
    (folder/'fashion_fastai').symlink_to(ROOT/'fashion_fastai')
    add_to(folder, light_packages())
    info = folder/'fashion_fastai_serve-0.1.0.dist-info'
    info.mkdir()
    (info/'METADATA').write_text('Metadata-Version: 2.1\nName: fashion_fastai_serve\nVersion: 0.1.0\n')
    return folder

def in_light(site, *args):
    code = 'import sys; sys.path.append(sys.argv.pop(1)); from fashion_fastai.cli import main; sys.exit(main(sys.argv[1:]))'
    return subprocess.run([sys.executable, '-I', '-S', '-c', code, str(site), *map(str, args)], capture_output=True, text=True)

def test_requirements_are_those_of_the_library():
    lines = serve_wheel.requirements()
    assert 'fastapi>=0.115,<1' in lines and all(re.search('[<>=]', line) for line in lines)
    assert not {'torch', 'fastai', 'timm', 'scikit-learn', 'scipy', 'matplotlib'} & set(light_packages())

SERVED = '''
import sys
sys.path.append(sys.argv.pop(1))
from starlette.testclient import TestClient
from fashion_fastai.serving.api.app import create_api
from fashion_fastai.serving.api.server import bound_socket
from fashion_fastai.serving.api.service import Service
with TestClient(create_api(Service(sys.argv[1]))) as client:
    print(client.post('/v1/predict', files=[('files', ('a.jpg', open(sys.argv[2], 'rb').read()))]).json()['category'])
'''

def test_the_light_distribution_predicts_and_serves(tmp_path):
    "An environment that has only its packages; httpx is added for the test client"
    pytest.importorskip('onnx')
    pytest.importorskip('fastapi')
    from helpers.served import exported_run, jpeg
    run = exported_run(tmp_path/'shop')
    (tmp_path/'a.jpg').write_bytes(jpeg())
    site = light_site(tmp_path/'site')
    done = in_light(site, 'predict', run.onnx, tmp_path/'a.jpg', '--out', tmp_path/'out.csv')
    assert done.returncode==0, done.stderr
    refused = in_light(site, 'train', '--data', tmp_path/'none.csv')
    assert refused.returncode==2 and 'fashion_fastai_serve leaves out what only training needs' in refused.stderr, refused.stderr
    add_to(site, needed('httpx', needed('httpx2', {})))
    served = subprocess.run([sys.executable, '-I', '-S', '-c', SERVED, str(site), str(run.path), str(tmp_path/'a.jpg')], capture_output=True, text=True)
    assert served.returncode==0, served.stderr
    assert served.stdout.strip() in (tmp_path/'out.csv').read_text()

# ---- images

def instructions(path):
    "Return the instructions of a Dockerfile as (name, rest), comments left out and lines joined"
    text = re.sub(r'\\\n\s*', ' ', ''.join(line for line in path.read_text().splitlines(True) if not line.startswith('#')))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]

@pytest.mark.parametrize('path', sorted(DEPLOY.glob('Dockerfile*')), ids=lambda path: path.name)
def test_a_dockerfile_follows_the_rules(path):
    found = instructions(path)
    names = [name for name,_ in found]
    assert names[0]=='FROM' and {'USER', 'ENTRYPOINT', 'CMD', 'STOPSIGNAL'}<=set(names) and 'ADD' not in names
    for name,rest in found:
        if name=='FROM': assert re.match(r'[\w./-]+:[\d.]+\S*', rest) and ':latest' not in rest # a base with a version
        if name in ('ENTRYPOINT', 'CMD'): assert isinstance(ast.literal_eval(rest), list) # signals reach the program, not a shell
        if name=='USER': assert rest.isdigit() and int(rest)>0 # Kubernetes cannot check a name
        if name=='RUN' and 'apt-get install' in rest: assert '--no-install-recommends' in rest and 'rm -r /var/lib/apt/lists' in rest
        if name=='RUN' and 'pip install' in rest: assert '--no-cache-dir' in rest and '--constraint constraints.txt' in rest
    assert max(i for i,name in enumerate(names) if name=='USER')>max(i for i,name in enumerate(names) if name=='RUN')
    if 'serve' in path.name: assert 'HEALTHCHECK' in names

def test_the_context_of_a_build_has_what_it_reads_and_no_more():
    lines = (ROOT/'.dockerignore').read_text().split('\n')
    kept = [line[1:] for line in lines if line.startswith('!')]
    assert '*' in lines and all((ROOT/name).exists() for name in kept)
    assert {'fashion_fastai', 'settings.ini', 'setup.py', 'pyproject.toml', 'constraints.txt', 'deploy/serve_wheel.py', 'README.md', 'LICENSE'}==set(kept)

def test_extras_of_the_training_image_exist():
    extras = {key.removesuffix('_requirements') for key in serve_wheel.read_settings()['DEFAULT'] if key.endswith('_requirements')}
    (named,) = re.findall(r'"\.\[([\w,]+)\]"', (DEPLOY/'Dockerfile.train').read_text())
    assert set(named.split(','))<=extras

@pytest.mark.slow
def test_the_commands_of_the_serving_image_run_step_by_step(tmp_path):
    "Needs a package index, as `docker build` does; folders of the image are folders of the test"
    from helpers.served import Process, exported_run
    source = tmp_path/'src'
    shutil.copytree(ROOT, source, ignore=lambda folder,names: [name for name in names if Path(folder)==ROOT and name not in
        ('fashion_fastai', 'deploy', 'LICENSE', 'README.md', 'constraints.txt', 'pyproject.toml', 'settings.ini', 'setup.py')])
    def place(text): return text.replace('/opt/fashion', str(tmp_path/'fashion')).replace('/wheels', str(tmp_path/'wheels'))
    for name,rest in instructions(DEPLOY/'Dockerfile.serve'):
        if name=='RUN' and 'useradd' not in rest:
            subprocess.run(place(re.sub('^python ', f'{shlex.quote(sys.executable)} ', rest)), shell=True, cwd=source, check=True)
    (wheel,) = (tmp_path/'wheels').glob('*.whl')
    assert {'fashion_fastai/cli.py', 'fashion_fastai/assets/report.html'}<=set(zipfile.ZipFile(wheel).namelist())
    size = sum(path.stat().st_size for path in (tmp_path/'fashion').rglob('*') if path.is_file() and not path.is_symlink())
    print(f'{size/1e6:.0f} MB installed')
    assert size<480e6 # and the base image: under 600 MB
    python = tmp_path/'fashion/bin/python'
    subprocess.run([python, '-m', 'pip', 'check'], check=True)
    assert subprocess.run([python, '-c', 'import torch'], capture_output=True).returncode==1
    run = exported_run(tmp_path/'shop')
    with Process(run.path, python=str(python)) as server:
        (check,) = [rest for name,rest in instructions(DEPLOY/'Dockerfile.serve') if name=='HEALTHCHECK']
        command = ast.literal_eval(check[check.index('['):])
        command[0] = str(python)
        command[-1] = command[-1].replace('127.0.0.1:8000', f'127.0.0.1:{server.port}')
        subprocess.run(command, check=True)

# ---- Compose, Prometheus, Grafana

def test_compose_and_prometheus_agree():
    compose = yaml.safe_load((DEPLOY/'compose.yaml').read_text())
    server = compose['services']['server']
    assert server['read_only'] and server['cap_drop']==['ALL']
    assert (DEPLOY/server['build']['context']/server['build']['dockerfile']).is_file()
    for service in compose['services'].values():
        assert ':latest' not in service.get('image', '')
        for volume in service.get('volumes', []):
            if isinstance(volume, str) and volume.startswith('./'): assert (DEPLOY/volume.split(':')[0]).is_file(), volume
        for port in service.get('ports', []): assert port.startswith('127.0.0.1:')
    (job,) = yaml.safe_load((DEPLOY/'prometheus.yml').read_text())['scrape_configs']
    assert job['metrics_path']=='/metrics' and job['static_configs'][0]['targets']==['server:8000']
    source = yaml.safe_load((DEPLOY/'grafana/datasource.yaml').read_text())['datasources'][0]
    assert source['url']=='http://prometheus:9090'
    board = json.loads((DEPLOY/'grafana/fashion.json').read_text())
    assert {panel['datasource']['uid'] for panel in board['panels']}=={source['uid']}

def test_metrics_that_are_asked_for_exist():
    pytest.importorskip('prometheus_client')
    from fashion_fastai.serving.api.metrics import Metrics
    metrics = Metrics()
    metrics.observe_batch(1, 0.1)
    metrics.requests.labels('/v1/predict', 200).inc()
    metrics.seconds.labels('/v1/predict').observe(1)
    metrics.images.labels('answered').inc()
    metrics.reloads.labels('done').inc()
    metrics.model.info(dict(name='shop', digest='0', engine='onnx'))
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    known = {sample.name: set(sample.labels) for sample in samples}
    board = json.loads((DEPLOY/'grafana/fashion.json').read_text())
    asked = [target['expr'] for panel in board['panels'] for target in panel['targets']]
    asked += [trigger['metadata']['query'] for manifest in manifests('kubernetes.yaml') if manifest['kind']=='ScaledObject' for trigger in manifest['spec']['triggers']]
    for text in asked:
        used = re.findall(r'\b(?:fashion|process)_\w+', text)
        assert used and set(used)<=set(known), text
        for names in re.findall(r'by \(([\w, ]+)\)', text):
            assert set(names.split(', '))<=set().union(*(known[name] for name in used)), text

# ---- Kubernetes and Ray

def manifests(name): return list(yaml.safe_load_all((DEPLOY/name).read_text()))

def test_kubernetes_asks_for_what_the_server_has():
    found = {manifest['kind']: manifest for manifest in manifests('kubernetes.yaml')}
    assert set(found)=={'Deployment', 'Service', 'PodDisruptionBudget', 'ScaledObject'}
    pod = found['Deployment']['spec']['template']
    (server,) = pod['spec']['containers']
    port = server['ports'][0]
    assert port['containerPort']==8000 and found['Service']['spec']['ports'][0]['targetPort']==port['name']
    assert {server[probe]['httpGet']['path'] for probe in ('startupProbe', 'readinessProbe')}=={'/ready'} and server['livenessProbe']['httpGet']['path']=='/health'
    labels = pod['metadata']['labels']
    for selected in (found['Deployment']['spec']['selector']['matchLabels'], found['Service']['spec']['selector'], found['PodDisruptionBudget']['spec']['selector']['matchLabels']):
        assert selected==labels
    assert found['ScaledObject']['spec']['scaleTargetRef']['name']==found['Deployment']['metadata']['name']
    from fashion_fastai.serving.api.limits import Limits
    grace = pod['spec']['terminationGracePeriodSeconds']
    assert grace>server['lifecycle']['preStop']['sleep']['seconds']+Limits().seconds+5
    assert server['securityContext']['readOnlyRootFilesystem'] and pod['spec']['securityContext']['runAsUser']==10001
    assert {volume['mountPath'] for volume in server['volumeMounts']}=={'/cache', '/tmp'}

def test_ray_has_one_image_and_its_version():
    (cluster,) = manifests('ray.yaml')
    groups = [cluster['spec']['headGroupSpec'], *cluster['spec']['workerGroupSpecs']]
    images = {container['image'] for group in groups for container in group['template']['spec']['containers']}
    assert len(images)==1
    constraints = (ROOT/'constraints.txt').read_text()
    assert f'ray=={cluster["spec"]["rayVersion"]};' in constraints
