"""Draw `docs/_static/packages.svg`, the picture of the page *Map of the packages*: `python docs/packages_svg.py`

Text stands in light boxes and arrows are grey, so that the picture is readable on a light and on a dark page.
"""
from html import escape
from pathlib import Path

FONT = 'font-family="system-ui, sans-serif"'
# fills of the boxes
DATA, MODEL, RESULT, USE, PLAIN = '#cfe3f7', '#d9edd3', '#fbe6c2', '#ead8f0', '#e6e6e6'
WIDTH, HEIGHT = 920, 640

# floors of the house, the top one first: boxes side by side, each (packages, content, fill)
FLOORS = [
    [('cli · all', 'one Typer app · the names for notebooks', PLAIN)],
    [('commands', 'one command for each verb', USE)],
    [('tuning', 'search over settings', RESULT)],
    [('experiments', 'from settings to a run: probe, train, resume, soup, compare', RESULT)],
    [('audit', 'problems of a table', USE), ('serving', 'predictor, batch, ONNX, Ray, HTTP, app', USE)],
    [('evaluation', 'predictions, calibration, scores, report, model card', RESULT)],
    [('training', 'learner, callbacks, stages, checkpoints', MODEL)],
    [('embeddings', 'nearest neighbours, search, OOD detector, drift', MODEL)],
    [('data', 'table to loaders', DATA), ('models', 'body, heads, losses', MODEL)],
    [('target · schema · config · run · metrics', 'the nouns of the library', PLAIN)],
    [('core', 'files, errors, locks, console, plotting primitives', PLAIN)],
]
# the way of the data: name, package, fill
WAY = [('catalogue', 'data', DATA), ('loaders', 'data', DATA), ('network', 'models', MODEL),
    ('learner', 'training', MODEL), ('run', 'experiments', RESULT), ('predictions', 'evaluation', RESULT),
    ('scores', 'evaluation, report', RESULT)]
SERVED = 'results: command line, HTTP, app, ONNX, Ray', 'serving', USE

def box(x, y, width, height, title, text, fill):
    "Return a box with a title and a line of text below it"
    middle, centre = x+width/2, y+height/2
    return (f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="#808080"/>'
        f'<text x="{middle}" y="{centre-3}" text-anchor="middle" font-size="14" font-weight="600" fill="#1c1c1c">'
        f'{escape(title)}</text>'
        f'<text x="{middle}" y="{centre+13}" text-anchor="middle" font-size="11.5" fill="#333333">'
        f'{escape(text)}</text>')

def arrow(*points):
    "Return a line through `points` that ends in an arrowhead"
    path = ' '.join(f'{x},{y}' for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="#808080" stroke-width="2" marker-end="url(#head)"/>'

def way(y):
    "Return the boxes and arrows from a catalogue to results"
    step, width, height = 128, 108, 44
    parts = []
    for number, (name, package, fill) in enumerate(WAY):
        x = 20+number*step
        parts.append(box(x, y, width, height, name, package, fill))
        if number: parts.append(arrow((x-step+width, y+height/2), (x-3, y+height/2)))
    run = 20+4*step+width/2
    parts.append(box(run-190, y+84, 380, height, *SERVED))
    parts.append(arrow((run, y+height), (run, y+81)))
    return parts

def house(y):
    "Return the floors, the top one first"
    left, width, height, gap = 20, 876, 36, 5
    parts = []
    for number, floor in enumerate(FLOORS):
        part = (width-gap*(len(floor)-1))/len(floor)
        for place, (name, text, fill) in enumerate(floor):
            parts.append(box(left+place*(part+gap), y+number*(height+gap), part, height, name, text, fill))
    return parts

def draw():
    "Return the picture as SVG"
    head = ('<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#808080"/></marker></defs>')
    title = 'A catalogue becomes a run, a run gives results; below, the packages as floors that import only from below'
    opening = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {FONT}>'
        f'<title>{title}</title>')
    return '\n'.join([opening, head, *way(16), *house(178), '</svg>', ''])

if __name__=='__main__': (Path(__file__).parent/'_static'/'packages.svg').write_text(draw(), encoding='utf-8')
