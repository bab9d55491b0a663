"The list of bodies and the presets of `train`"
import pytest, timm, torch
from fashion_fastai.cli import main
from fashion_fastai.experiments import bodies
from fashion_fastai.experiments.bodies import PRESETS, bodies_table, preset_settings, read_bodies, this_machine
from fashion_fastai.models.repository import is_address
from fashion_fastai.models.weights import find_arch
from fashion_fastai.run import open_run

def test_the_list_says_what_timm_has():
    "Names, tags, licences and parameters"
    for body in read_bodies():
        if not is_address(body.arch):
            assert find_arch(body.arch)==body.arch
            assert body.licence.lower()==timm.get_pretrained_cfg(body.arch).license
        assert bool(body.imagenet_real)!=bool(body.zero_shot)
        with torch.device('meta'): network = timm.create_model(body.network or body.arch.partition('.')[0], num_classes=0)
        assert abs(sum(p.numel() for p in network.parameters())/1e6-body.parameters)<0.006, body.arch

@pytest.mark.parametrize('device, size, least', [('cpu', 1, 1), ('cpu', 7, 1), ('cpu', 16, 8), ('cuda', 16, 0), ('cuda', 23.6, 20),
    ('cuda', 79.1, 60)])
def test_each_machine_has_presets_of_the_list(monkeypatch, device, size, least):
    class Properties: total_memory = size*2**30
    monkeypatch.setattr(bodies, 'default_device', lambda: torch.device(device))
    monkeypatch.setattr(bodies, 'n_cores', lambda: size)
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda device: Properties)
    machine,_ = this_machine()
    assert (machine.device, machine.least)==('cpu' if device=='cpu' else 'gpu', least)
    real = {body.arch: body.imagenet_real for body in read_bodies()}
    accuracies = [real[getattr(machine, name).arch] for name in PRESETS]
    assert accuracies==sorted(accuracies)
    for name in PRESETS: assert preset_settings(name)[0]['image']['size']==getattr(machine, name).size

def test_the_table_is_printed_and_speeds_are_measured(monkeypatch, capsys):
    assert main(['bodies'])==0
    assert 'hf-hub:Marqo/marqo-fashionSigLIP' in capsys.readouterr().out
    measured = []
    def measure(arch, size): return measured.append((arch, size)) or {'train float32': 9.}
    monkeypatch.setattr(bodies, 'measure_body', measure)
    assert bodies_table(measure=True)['train float32'].eq(9).all() and len(measured)==len(read_bodies())
    assert ('vit_base_patch16_siglip_224', 224) in measured

def test_a_preset_chooses_body_and_size(sample, tmp_path, capsys):
    args = ['train', '--data', str(sample), '--preset', 'fast', '--weights', 'none', '--epochs', '1', '--batch-size', '16']
    assert main([*args, '--size', '32', '--out', str(tmp_path/'run')])==0
    fast = this_machine()[0].fast
    config = open_run(tmp_path/'run').config
    assert config.model.arch==fast.arch and config.image.size==32 # options come first
    assert f'preset fast for {this_machine()[1]}: {fast.arch} at {fast.size} px' in capsys.readouterr().err

def test_mistakes_with_presets(tmp_path, capsys):
    for args,words in ((['--preset', 'bst'], "unknown preset 'bst'; did you mean best?"),
            (['--preset', 'best', '--arch', 'resnet18'], '--preset chooses the body; leave --arch out')):
        assert main(['train', *args, '--out', str(tmp_path/'run')])==2
        assert words in capsys.readouterr().err
