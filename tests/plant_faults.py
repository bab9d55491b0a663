"""A catalogue with faults on purpose, and the truth about them: what an audit finds can be counted against it

python tests/plant_faults.py labels.csv OUT --seed 0
"""
from __future__ import annotations
import argparse, math, shutil
from pathlib import Path
import numpy as np, pandas as pd
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.data.images import read_image
from fashion_fastai.core.files import atomic_folder
from fashion_fastai.target import UNKNOWN

# ---- images of no garment: each draws on a square of SIDE pixels with everything random that can be

SIDE = 256

def _color(rng, low=0, high=256): return tuple(int(o) for o in rng.integers(low, high, 3))
def _paper(rng): return Image.new('RGB', (SIDE,SIDE), _color(rng, 190) if rng.random()<0.5 else 'white')
def _blend(a, b, t): # `t` (SIDE, SIDE) between 0 and 1
    return Image.fromarray((np.array(a)*(1-t[...,None]) + np.array(b)*t[...,None]).clip(0, 255).astype(np.uint8))
def _grid(): return np.mgrid[0:SIDE,0:SIDE]/(SIDE-1)
def _hills(rng, base, rough): # heights of a ridge, (SIDE,)
    x = np.linspace(0, 1, SIDE)
    return base + sum(rough/k*np.sin(2*np.pi*(k*x*rng.uniform(0.7, 1.3)+rng.random())) for k in range(1, 9))
def _fractal(rng, octaves=6): # cloud-like noise between 0 and 1
    total = np.zeros((SIDE,SIDE))
    for k in range(1, octaves+1):
        small = Image.fromarray(rng.random((2**k+1, 2**k+1)).astype(np.float32))
        total += np.asarray(small.resize((SIDE,SIDE), Image.Resampling.BICUBIC))*rng.uniform(0.4, 0.7)**k
    return (total-total.min())/np.ptp(total)
def _disc(draw, x, y, r, fill, ry=None, **kwargs): draw.ellipse((x-r, y-(ry or r), x+r, y+(ry or r)), fill=fill, **kwargs)
def _blob(draw, rng, x, y, r, fill, n=14):
    radii = r*rng.uniform(0.75, 1.2, n)
    draw.polygon([(x+q*math.cos(a), y+q*math.sin(a)) for q,a in zip(radii, np.linspace(0, 2*math.pi, n, endpoint=False))], fill=fill)
def _ridge(image, heights, color):
    ImageDraw.Draw(image).polygon([(0,SIDE), *enumerate(heights*SIDE), (SIDE,SIDE)], fill=color)

def gradient(rng):
    y,x = _grid(); a = rng.uniform(0, 2*np.pi)
    t = x*np.cos(a)+y*np.sin(a)
    return _blend(_color(rng), _color(rng), (t-t.min())/np.ptp(t))
def radial(rng):
    y,x = _grid(); t = np.hypot(x-rng.uniform(.2,.8), y-rng.uniform(.2,.8))
    return _blend(_color(rng), _color(rng), t/t.max())
def sunset(rng):
    image = _blend(_color(rng, 20, 140), (255, int(rng.integers(90,200)), 60), _grid()[0])
    _disc(ImageDraw.Draw(image), rng.uniform(40,216), rng.uniform(90,170), rng.uniform(12,35), (255,235,160))
    for i in range(int(rng.integers(1,4))): _ridge(image, _hills(rng, .65+.1*i, .04), tuple(int(o/(2+i)) for o in _color(rng, 30, 120)))
    return image
def mountains(rng):
    image = _blend((110,160,230), (235,240,250), _grid()[0])
    for i in range(int(rng.integers(2,5))):
        x = np.linspace(0, 6, SIDE); tooth = np.abs((x*rng.uniform(.5,1.2)+rng.random())%2-1)
        _ridge(image, .3+.14*i+.25*tooth, (120-20*i, 125-12*i, 140-25*i))
    return image
def sea(rng):
    y,x = _grid(); wave = np.sin(40*y**2*rng.uniform(.8,1.6)+6*np.sin(9*x+rng.random()*6))*.5+.5
    image = _blend((20,60,110), (90,170,200), wave)
    image.paste(_blend((150,200,240), (240,245,250), _grid()[0]).crop((0,0,SIDE,int(rng.integers(60,140)))), (0,0))
    return image
def skyline(rng):
    image = _blend(_color(rng, 0, 120), _color(rng, 120), _grid()[0]); draw = ImageDraw.Draw(image); x = 0
    while x<SIDE:
        w,h = int(rng.integers(16,46)),int(rng.integers(50,190)); gray = int(rng.integers(20,110))
        draw.rectangle((x, SIDE-h, x+w, SIDE), fill=(gray,gray,gray+15))
        for wx in range(x+4, x+w-4, 7):
            for wy in range(SIDE-h+5, SIDE-5, 10):
                if rng.random()<.5: draw.rectangle((wx,wy,wx+3,wy+5), fill=(250,230,140))
        x += w+int(rng.integers(0,6))
    return image
def stars(rng):
    image = _blend((5,5,25), (40,20,70), _fractal(rng)); draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(80,400))): _disc(draw, *rng.uniform(0,SIDE,2), rng.exponential(.8)+.3, (255,255,int(rng.integers(180,256))))
    return image
def clouds(rng): return _blend((70,130,220), (250,250,252), (_fractal(rng)*rng.uniform(1,1.6)).clip(0,1))
def marble(rng): return _blend(_color(rng), _color(rng), np.sin(rng.uniform(6,25)*_fractal(rng))*.5+.5)
def noise(rng): return Image.fromarray(rng.integers(0, 256, (SIDE,SIDE,3), dtype=np.uint8)).resize((SIDE//int(rng.integers(1,9)),)*2)
def text_page(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image); y,margin,step = int(rng.integers(8,40)),int(rng.integers(8,30)),int(rng.integers(9,16))
    while y<SIDE-12:
        words = ' '.join(''.join(rng.choice(list('aeionrstlmdup'), int(rng.integers(2,9)))) for _ in range(12))
        draw.text((margin,y), words[:int((SIDE-2*margin)/6*(1 if rng.random()<.85 else .4))], fill=(20,20,30)); y += step*(2 if rng.random()<.12 else 1)
    return image
def receipt(rng):
    image = Image.new('RGB', (SIDE,SIDE), _color(rng, 40, 160)); draw = ImageDraw.Draw(image); w = int(rng.integers(90,150)); x = (SIDE-w)//2
    draw.rectangle((x,8,x+w,SIDE-8), fill='white')
    for y in range(20, SIDE-20, 13): draw.text((x+8,y), ''.join(rng.choice(list('milkbread '), 9)), fill=0); draw.text((x+w-36,y), f'{rng.uniform(1,99):.2f}', fill=0)
    return image
def handwriting(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image)
    for y in range(30, SIDE-10, int(rng.integers(22,40))):
        t = np.linspace(0, rng.uniform(30,60), 300); x = 12+t/t[-1]*rng.uniform(150,230)
        draw.line(list(zip(x+4*np.sin(t*1.7), y+7*np.sin(t+3*np.sin(t*.3)))), fill=(30,30,int(rng.integers(60,160))), width=2)
    return image
def bar_chart(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image); n = int(rng.integers(3,12)); w = 200/n; color = _color(rng, 0, 200)
    for i,h in enumerate(rng.uniform(15,190,n)): draw.rectangle((32+i*w, 228-h, 32+i*w+w*.7, 228), fill=color if rng.random()<.8 else _color(rng))
    draw.line((28,20,28,230,240,230), fill=0, width=2)
    return image
def line_chart(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image)
    for y in range(30,230,25): draw.line((28,y,240,y), fill=(210,210,210))
    for _ in range(int(rng.integers(1,5))): draw.line([(28+2.1*i,130+v) for i,v in enumerate(np.cumsum(rng.normal(0,5,100)).clip(-100,95))], fill=_color(rng,0,200), width=2)
    return image
def pie_chart(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image); at,r = 0.,rng.uniform(60,115)
    for share in rng.dirichlet(np.ones(int(rng.integers(3,8)))): draw.pieslice((128-r,128-r,128+r,128+r), at, at:=at+share*360, fill=_color(rng))
    return image
def spreadsheet(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image); w,h = int(rng.integers(34,64)),int(rng.integers(14,24))
    for y in range(0,SIDE,h):
        for x in range(0,SIDE,w): draw.rectangle((x,y,x+w,y+h), outline=(170,170,170), fill=(225,235,245) if y==0 else None); draw.text((x+4,y+2), str(int(rng.integers(0,9999))), fill=0)
    return image
def qr_code(rng):
    n = int(rng.integers(21,42)); bits = (rng.random((n,n))<.5)
    for r,c in ((0,0),(0,n-7),(n-7,0)): bits[r:r+7,c:c+7] = True; bits[r+1:r+6,c+1:c+6] = False; bits[r+2:r+5,c+2:c+5] = True
    image = _paper(rng); image.paste(Image.fromarray(~bits).convert('RGB').resize((k:=int(rng.integers(120,240)),)*2, Image.Resampling.NEAREST), ((SIDE-k)//2,)*2)
    return image
def barcode(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image); x = 20
    while x<SIDE-20: draw.rectangle((x,60,x+(w:=int(rng.integers(1,6))),190), fill=0); x += w+int(rng.integers(2,7))
    return image
def checkers(rng):
    n = int(rng.integers(2,12)); y,x = (_grid()*n).astype(int)
    return _blend(_color(rng), _color(rng), ((x+y)%2).astype(float))
def rings(rng):
    image = Image.new('RGB', (SIDE,SIDE), _color(rng)); draw = ImageDraw.Draw(image); x,y = rng.uniform(60,196,2)
    for r in np.arange(240, 5, -rng.uniform(10,30)): _disc(draw, x, y, r, _color(rng))
    return image
def polygons(rng):
    image = Image.new('RGB', (SIDE,SIDE), _color(rng)); draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3,30))): draw.polygon([tuple(o) for o in rng.uniform(0,SIDE,(int(rng.integers(3,6)),2))], fill=_color(rng))
    return image
def cells(rng):
    points = rng.uniform(0,1,(int(rng.integers(10,60)),2)); y,x = _grid()
    near = ((y[...,None]-points[:,0])**2+(x[...,None]-points[:,1])**2).argmin(-1)
    return Image.fromarray(rng.integers(0,256,(len(points),3),dtype=np.uint8)[near])
def bricks(rng):
    image = Image.new('RGB', (SIDE,SIDE), (190,185,175)); draw = ImageDraw.Draw(image); w,h = int(rng.integers(26,60)),int(rng.integers(12,26))
    for j,y in enumerate(range(0,SIDE,h)):
        for x in range(-w,SIDE,w): draw.rectangle((x+(j%2)*w//2+2,y+2,x+(j%2)*w//2+w-1,y+h-1), fill=(int(rng.integers(130,200)),int(rng.integers(60,95)),60))
    return image
def face(rng):
    image = Image.new('RGB', (SIDE,SIDE), _color(rng, 80)); draw = ImageDraw.Draw(image); skin = (int(s:=rng.integers(110,250)),int(s*.8),int(s*.65)); r = rng.uniform(55,85)
    _disc(draw,128,115,r*1.12,_color(rng,0,110),r*1.3); _disc(draw,128,135,r,skin,r*1.25)
    for x in (128-r*.4,128+r*.4): _disc(draw,x,120,r*.17,'white',r*.1); _disc(draw,x,120,r*.08,_color(rng,0,120))
    draw.line((128,125,122,150,132,152), fill=tuple(int(o*.7) for o in skin), width=3); draw.arc((128-r*.4,145,128+r*.4,145+r*.5), 20, 160, fill=(160,50,60), width=int(rng.integers(3,9)))
    return image
def smiley(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image); r = rng.uniform(60,110); _disc(draw,128,128,r,(250,210,50),outline=0,width=3)
    for x in (-.35,.35): _disc(draw,128+x*r,105,r*.1,0)
    draw.arc((128-r*.6,128-r*.5,128+r*.6,128+r*.6), 20, 160, fill=0, width=5)
    return image
def pizza(rng):
    image = Image.new('RGB', (SIDE,SIDE), _color(rng)); draw = ImageDraw.Draw(image); r = rng.uniform(80,118)
    _disc(draw,128,128,r,(205,150,80)); _disc(draw,128,128,r*.88,(235,195,90))
    for _ in range(int(rng.integers(8,30))): a,q = rng.uniform(0,6.3),rng.uniform(0,r*.8); _blob(draw,rng,128+q*math.cos(a),128+q*math.sin(a),rng.uniform(5,14),[(180,40,35),(70,130,50),(240,235,220)][rng.integers(3)])
    return image
def burger(rng):
    image = Image.new('RGB', (SIDE,SIDE), _color(rng, 60)); draw = ImageDraw.Draw(image); w,y = rng.uniform(70,110),200
    for color in [(200,140,70)]+[[(110,60,35),(240,190,60),(90,160,60),(200,50,45)][i] for i in rng.integers(0,4,int(rng.integers(2,6)))]: draw.rounded_rectangle((128-w,y-18,128+w,y+4), 9, fill=color); y -= 20
    draw.pieslice((128-w,y-50,128+w,y+70), 180, 360, fill=(215,150,75))
    return image
def fruit(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2,9))): _blob(draw,rng,*rng.uniform(60,200,2),rng.uniform(20,45),[(210,40,40),(240,150,30),(120,180,50),(120,50,130),(240,220,60)][rng.integers(5)],40)
    draw.chord((30,130,226,290), 0, 180, fill=_color(rng))
    return image
def plate(rng):
    image = Image.new('RGB', (SIDE,SIDE), _color(rng,30)); draw = ImageDraw.Draw(image); _disc(draw,128,128,112,(245,245,245)); _disc(draw,128,128,80,(232,232,235))
    for _ in range(int(rng.integers(3,40))): _blob(draw,rng,*rng.normal(128,30,2),rng.uniform(5,26),_color(rng,30,220),9)
    return image
def cup(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image); color,w = _color(rng),rng.uniform(40,70)
    draw.ellipse((128+w*.6,100,128+w*1.6,170), outline=color, width=12); draw.polygon([(128-w,70),(128+w,70),(128+w*.8,200),(128-w*.8,200)], fill=color); _disc(draw,128,70,w,(80,50,30),14)
    return image
def car(rng):
    image = _blend((170,205,240),(225,225,220),_grid()[0]); draw = ImageDraw.Draw(image); color = _color(rng); draw.rectangle((0,190,SIDE,SIDE), fill=(90,90,95))
    draw.rounded_rectangle((30,130,226,190), 15, fill=color); draw.polygon([(70,132),(95,int(rng.integers(80,105))),(165,90),(195,132)], fill=color); draw.polygon([(82,130),(100,100),(160,100),(180,130)], fill=(200,225,240))
    for x in (75,182): _disc(draw,x,190,22,(25,25,25)); _disc(draw,x,190,10,(180,180,180))
    return image
def house(rng):
    image = _blend((120,180,240),(240,245,250),_grid()[0]); draw = ImageDraw.Draw(image); w,h = rng.uniform(60,95),rng.uniform(60,110); draw.rectangle((0,210,SIDE,SIDE), fill=(90,150,70))
    draw.rectangle((128-w,212-h,128+w,212), fill=_color(rng,100)); draw.polygon([(116-w,212-h),(128,212-h-rng.uniform(30,70)),(140+w,212-h)], fill=_color(rng,40,170)); draw.rectangle((116,165,142,212), fill=(90,60,40))
    for x in (128-w*.6,128+w*.45): draw.rectangle((x-12,225-h,x+12,250-h), fill=(250,240,170), outline=0)
    return image
def forest(rng):
    image = _blend((180,215,240),(90,130,70),_grid()[0]); draw = ImageDraw.Draw(image)
    for y in np.sort(rng.uniform(120,235,int(rng.integers(6,30)))):
        x,s = rng.uniform(0,SIDE),y/4; green = (int(rng.integers(10,60)),int(rng.integers(70,140)),40); draw.rectangle((x-3,y,x+3,y+12), fill=(80,55,30))
        for k in range(3): draw.polygon([(x-s*.5+k*4,y-k*s*.4),(x+s*.5-k*4,y-k*s*.4),(x,y-s*.7-k*s*.4)], fill=green)
    return image
def flowers(rng):
    image = _blend(_color(rng,100),(60,130,60),_fractal(rng)); draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1,9))):
        x,y = rng.uniform(30,226,2); r,color,n = rng.uniform(14,45),_color(rng,90),int(rng.integers(5,11))
        for a in np.arange(n)*2*np.pi/n: _disc(draw,x+r*math.cos(a),y+r*math.sin(a),r*.55,color)
        _disc(draw,x,y,r*.5,(245,205,50))
    return image
def road(rng):
    image = _blend((130,190,240),(230,235,240),_grid()[0]); draw = ImageDraw.Draw(image); h,v = int(rng.integers(90,140)),rng.uniform(90,166)
    draw.rectangle((0,h,SIDE,SIDE), fill=_color(rng,60,170)); draw.polygon([(v-4,h),(v+4,h),(250,SIDE),(6,SIDE)], fill=(85,85,90)); draw.line((v,h,128,SIDE), fill='white', width=4)
    return image
def street_map(rng):
    image = Image.new('RGB', (SIDE,SIDE), (236,232,222)); draw = ImageDraw.Draw(image); _blob(draw,rng,*rng.uniform(0,256,2),70,(170,205,240)); _blob(draw,rng,*rng.uniform(0,256,2),50,(190,222,170))
    for _ in range(int(rng.integers(8,22))): draw.line((*rng.uniform(-20,276,2),*rng.uniform(-20,276,2)), fill=(255,255,255) if rng.random()<.7 else (250,210,110), width=int(rng.integers(3,10)))
    return image
def chair(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image); color = _color(rng,30,190); w = int(rng.integers(45,75)); draw.rounded_rectangle((128-w,40,128+w,140),8,fill=color); draw.rectangle((118-w,140,138+w,160), fill=tuple(o//2+20 for o in color))
    for x in (122-w,128+w): draw.rectangle((x,160,x+8,236), fill=(90,60,40))
    return image
def phone(rng):
    image = Image.new('RGB', (SIDE,SIDE), _color(rng,60)); draw = ImageDraw.Draw(image); draw.rounded_rectangle((70,14,186,242),16,fill=(20,20,22)); draw.rectangle((77,32,179,226), fill=_color(rng))
    for y in range(42,210,34):
        for x in range(84,170,32): draw.rounded_rectangle((x,y,x+22,y+22),5,fill=_color(rng))
    return image
def clock_face(rng):
    image = _paper(rng); draw = ImageDraw.Draw(image); r = rng.uniform(70,115); _disc(draw,128,128,r,_color(rng,150),outline=_color(rng,0,120),width=8)
    for a in np.arange(12)*np.pi/6: _disc(draw,128+r*.85*math.cos(a),128+r*.85*math.sin(a),3,0)
    for q,w in ((.5,6),(.75,3)): a = rng.uniform(0,6.3); draw.line((128,128,128+r*q*math.cos(a),128+r*q*math.sin(a)), fill=0, width=w)
    return image
def cat(rng):
    image = Image.new('RGB', (SIDE,SIDE), _color(rng,90)); draw = ImageDraw.Draw(image); fur = _color(rng,30,200); _disc(draw,128,190,65,fur,75); _disc(draw,128,105,52,fur)
    for s in (-1,1): draw.polygon([(128+s*48,95),(128+s*42,30),(128+s*12,60)], fill=fur); _disc(draw,128+s*20,98,9,(210,220,80)); _disc(draw,128+s*20,98,3,0,8); draw.line((128+s*8,125,128+s*60,118), fill=0)
    draw.polygon([(122,115),(134,115),(128,123)], fill=(230,140,150))
    return image
def fish(rng):
    image = _blend((20,90,150),(90,190,210),_fractal(rng)); draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1,8))): x,y = rng.uniform(50,206,2); s,color = rng.uniform(14,45),_color(rng,80); _disc(draw,x,y,s,color,s*.5); draw.polygon([(x-s*.8,y),(x-s*1.5,y-s*.5),(x-s*1.5,y+s*.5)], fill=color); _disc(draw,x+s*.6,y-3,3,0)
    return image

NO_GARMENT = (gradient, radial, sunset, mountains, sea, skyline, stars, clouds, marble, noise, text_page, receipt, handwriting, bar_chart, line_chart, pie_chart,
    spreadsheet, qr_code, barcode, checkers, rings, polygons, cells, bricks, face, smiley, pizza, burger, fruit, plate, cup, car, house, forest, flowers, road,
    street_map, chair, phone, clock_face, cat, fish)

def draw_no_garment(kind, rng, size):
    "An image of kind `kind` (a function of `NO_GARMENT`) of `size` (width, height) pixels, turned, blurred and grainy as chance has it"
    image = kind(rng).resize((SIDE,SIDE)).rotate(rng.normal(0,4) if rng.random()<.5 else 0, fillcolor='white')
    if rng.random()<.5: image = image.filter(ImageFilter.GaussianBlur(rng.uniform(.3, 1.6)))
    if rng.random()<.5: image = Image.fromarray((np.asarray(image)+rng.normal(0, rng.uniform(2, 14), (SIDE,SIDE,1))).clip(0,255).astype(np.uint8))
    return image.resize(size, Image.Resampling.BICUBIC)

# ---- near duplicates

def resized(image, rng):
    scale = rng.uniform(.4, .8) if rng.random()<.6 else rng.uniform(1.2, 2)
    return image.resize((max(24, round(image.width*scale)), max(24, round(image.height*scale))), Image.Resampling.BICUBIC),f'resized to {scale:.2f}'
def cropped(image, rng):
    cut = rng.uniform(0, .05, 4); cut[rng.integers(4)] = rng.uniform(.02, .05)
    w,h = image.size
    return image.crop((round(cut[0]*w), round(cut[1]*h), round(w-cut[2]*w), round(h-cut[3]*h))),'cropped by ' + ' '.join(f'{o:.3f}' for o in cut)
def brightened(image, rng):
    factor = 1+rng.uniform(.04, .12)*rng.choice([-1,1])
    return ImageEnhance.Brightness(image).enhance(factor),f'brightness times {factor:.2f}'
CHANGES = {'resized': (resized,), 're-encoded': (), 'cropped': (cropped,), 'brightness': (brightened,), 'cropped and resized': (cropped, resized), 'all at once': (cropped, resized, brightened)}

def near_copy(source, target, how, rng):
    "Write an image that a person would call the same, in the way `how` of `CHANGES`; what was done in words"
    image,said = read_image(source),[]
    for change in CHANGES[how]:
        image,words = change(image, rng)
        said.append(words)
    quality = int(rng.integers(40, 91)) if how in ('re-encoded', 'all at once') else 92
    image.save(target, quality=quality)
    return ', '.join([*said, f'JPEG quality {quality}'])

# ---- the table

def _other_part(split): return 'train' if split!='train' else 'valid'

def _copies(rows, frame, rng, labels):
    "New rows that repeat `rows`: exact copies, near copies, the same path once more; `labels` of the first target are drawn from for conflicts"
    kinds = ['exact', 'exact as png', *CHANGES, *CHANGES] # a near copy six times as often as an exact one
    for i,row in enumerate(rows):
        how,old = ('same path' if i%16==15 else kinds[i%len(kinds)]),frame.loc[row]
        new = old.to_dict() | dict(split=_other_part(old.split), _of=row, _how=how, _was='')
        if how=='same path' or rng.random()<.2: new |= dict(_was=old._label, _label=rng.choice([o for o in labels if o!=old._label]))
        yield new

def plant(table, out, seed=0, duplicates=.03, flipped=.05, dropped=.05, no_garment=.02, one_of='category', any_of='attributes'):
    """Copy the catalogue `table` into the folder `out` with faults; the shares are of its rows. `out/labels.csv` is the table, `out/planted.csv` the truth:
    `row` of the new table (from 1), `kind`, `detail`, and `other`, the row that a duplicate repeats (0 without one). Rows are shuffled, so nothing gives a fault away"""
    catalogue,rng = read_catalogue(table, one_of=[one_of], any_of=[any_of] if any_of else None),np.random.default_rng(seed)
    file,n = catalogue.file_col,len(catalogue)
    frame = catalogue.frame.fillna('').reset_index(drop=True).assign(split=catalogue.split, _of=-1, _how='', _was='', _dropped='', _source=catalogue.paths)
    frame = frame.rename(columns={one_of: '_label'})
    labels = [o for o in catalogue.schema[one_of].vocab]
    known = np.flatnonzero(frame._label.ne('') & frame._label.ne(UNKNOWN))
    sources = rng.choice(known, round(n*duplicates), replace=False)
    rest = np.setdiff1d(known, sources)
    for i in rng.choice(rest, round(n*flipped), replace=False): # wrong categories
        frame.loc[i, ['_was','_label']] = frame._label[i],rng.choice([o for o in labels if o!=frame._label[i]])
    if any_of:
        several = np.setdiff1d(np.flatnonzero(frame[any_of].str.split().str.len().fillna(0)>0), sources)
        for i in rng.choice(several, min(len(several), round(n*dropped)), replace=False): # forgotten attributes
            words = frame[any_of][i].split()
            frame.loc[i, '_dropped'] = words.pop(rng.integers(len(words)))
            frame.loc[i, any_of] = ' '.join(words)
    strange = [frame.loc[i].to_dict() | dict(_of=-1, _how='no garment', _was='', _dropped='') for i in rng.choice(n, round(n*no_garment), replace=False)]
    new = pd.concat([frame, pd.DataFrame([*_copies(sources, frame, rng, labels), *strange], columns=frame.columns)], ignore_index=True)
    with atomic_folder(out) as folder: truth = _write(new, folder, file, n, one_of, rng)
    return Path(out)/'labels.csv',truth

def _write(new, folder, file, n, one_of, rng):
    "The images, the table and the truth"
    for i in range(n):
        target = folder/new[file][i]
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists(): shutil.copyfile(new._source[i], target)
    inside,said = Path(new[file][0]).parent,{}
    for i in range(n, len(new)):
        row,name = new.loc[i],str(inside/f'{rng.integers(10**9):09d}')
        if row._how=='same path': continue
        new.loc[i, file] = name = name+('.png' if row._how=='exact as png' else Path(row._source).suffix if row._how=='exact' else '.jpg')
        if row._how=='exact': shutil.copyfile(row._source, folder/name)
        elif row._how=='exact as png': read_image(row._source).save(folder/name)
        elif row._how=='no garment':
            kind = NO_GARMENT[(i-n)%len(NO_GARMENT)]
            said[i] = kind.__name__
            draw_no_garment(kind, rng, Image.open(row._source).size).save(folder/name, quality=int(rng.integers(75, 96)))
        else: said[i] = near_copy(row._source, folder/name, row._how, rng)
    order = rng.permutation(len(new))
    place = np.argsort(order)+1 # the row of the shuffled table for each row of `new`
    found = []
    for i,row in new.iterrows():
        other = int(place[row._of]) if row._of>=0 else 0
        if row._how and row._how!='no garment': found.append((int(place[i]), 'exact duplicate' if row._how in ('exact','exact as png') else row._how if row._how=='same path' else 'near duplicate', f'{row._how}: {said.get(i, "")}'.rstrip(': '), other))
        if row._how=='no garment': found.append((int(place[i]), 'no garment', said[i], 0))
        if row._was: found.append((int(place[i]), 'conflict' if row._of>=0 else 'flipped', row._was, other))
        if row._dropped: found.append((int(place[i]), 'dropped', row._dropped, 0))
    truth = pd.DataFrame(found, columns=['row','kind','detail','other']).sort_values('row')
    clean = new.iloc[order].rename(columns={'_label': one_of}).drop(columns=['_of','_how','_was','_dropped','_source'])
    clean.to_csv(folder/'labels.csv', index=False)
    truth.to_csv(folder/'planted.csv', index=False)
    return truth.reset_index(drop=True)

if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table'); parser.add_argument('out'); parser.add_argument('--seed', type=int, default=0)
    for name,share in dict(duplicates=.03, flipped=.05, dropped=.05, no_garment=.02).items(): parser.add_argument(f'--{name.replace("_","-")}', type=float, default=share)
    path,truth = plant(**vars(parser.parse_args()))
    print(path, truth.kind.value_counts().to_string(), sep='\n')
