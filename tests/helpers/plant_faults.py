"""A catalogue with planted faults, and the list of them: what an audit finds can be compared with it

python tests/helpers/plant_faults.py labels.csv OUT --seed 0
"""
from __future__ import annotations
import argparse, math, shutil
from pathlib import Path
import numpy as np, pandas as pd
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from fashion_fastai.core.files import atomic_folder
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.data.images import read_image
from fashion_fastai.target import UNKNOWN

# Images without a garment: each function draws on a square of SIDE pixels, as random as its subject allows

SIDE = 256

def _color(rng, low=0, high=256): return tuple(int(value) for value in rng.integers(low, high, 3))
def _int(rng, low, high): return int(rng.integers(low, high))
def _blank(color): return Image.new('RGB', (SIDE,SIDE), color)
def _paper(rng): return _blank(_color(rng, 190) if rng.random()<0.5 else 'white')
def _grid(): return np.mgrid[0:SIDE,0:SIDE]/(SIDE-1)

def _canvas(image):
    "Return an image and what draws on it"
    return image,ImageDraw.Draw(image)

def _blend(a, b, t):
    "Blend two colours by `t`, `(SIDE, SIDE)` between 0 and 1"
    return Image.fromarray((np.array(a)*(1-t[...,None]) + np.array(b)*t[...,None]).clip(0, 255).astype(np.uint8))

def _sky(top, bottom): return _blend(top, bottom, _grid()[0])

def _hills(rng, base, rough):
    "Return the heights of a ridge, `(SIDE,)`"
    x = np.linspace(0, 1, SIDE)
    return base + sum(rough/k*np.sin(2*np.pi*(k*x*rng.uniform(0.7, 1.3)+rng.random())) for k in range(1, 9))

def _fractal(rng, octaves=6):
    "Return cloud-like noise between 0 and 1, `(SIDE, SIDE)`"
    total = np.zeros((SIDE,SIDE))
    for k in range(1, octaves+1):
        small = Image.fromarray(rng.random((2**k+1, 2**k+1)).astype(np.float32))
        total += np.asarray(small.resize((SIDE,SIDE), Image.Resampling.BICUBIC))*rng.uniform(0.4, 0.7)**k
    return (total-total.min())/np.ptp(total)

def _disc(draw, x, y, r, fill, ry=None, **kwargs):
    draw.ellipse((x-r, y-(ry or r), x+r, y+(ry or r)), fill=fill, **kwargs)

def _blob(draw, rng, x, y, r, fill, n=14):
    "Draw a disc with a wavy edge"
    radii,angles = r*rng.uniform(0.75, 1.2, n),np.linspace(0, 2*math.pi, n, endpoint=False)
    edge = [(x+radius*math.cos(angle), y+radius*math.sin(angle)) for radius,angle in zip(radii, angles)]
    draw.polygon(edge, fill=fill)

def _ridge(image, heights, color):
    ImageDraw.Draw(image).polygon([(0,SIDE), *enumerate(heights*SIDE), (SIDE,SIDE)], fill=color)

# Landscapes and patterns

def gradient(rng):
    y,x = _grid()
    angle = rng.uniform(0, 2*np.pi)
    t = x*np.cos(angle)+y*np.sin(angle)
    return _blend(_color(rng), _color(rng), (t-t.min())/np.ptp(t))

def radial(rng):
    y,x = _grid()
    t = np.hypot(x-rng.uniform(.2,.8), y-rng.uniform(.2,.8))
    return _blend(_color(rng), _color(rng), t/t.max())

def sunset(rng):
    image,draw = _canvas(_sky(_color(rng, 20, 140), (255, _int(rng, 90, 200), 60)))
    _disc(draw, rng.uniform(40,216), rng.uniform(90,170), rng.uniform(12,35), (255,235,160))
    for i in range(_int(rng, 1, 4)):
        heights = _hills(rng, .65+.1*i, .04)
        _ridge(image, heights, tuple(int(value/(2+i)) for value in _color(rng, 30, 120)))
    return image

def mountains(rng):
    image = _sky((110,160,230), (235,240,250))
    for i in range(_int(rng, 2, 5)):
        x = np.linspace(0, 6, SIDE)
        tooth = np.abs((x*rng.uniform(.5,1.2)+rng.random())%2-1)
        _ridge(image, .3+.14*i+.25*tooth, (120-20*i, 125-12*i, 140-25*i))
    return image

def sea(rng):
    y,x = _grid()
    wave = np.sin(40*y**2*rng.uniform(.8,1.6)+6*np.sin(9*x+rng.random()*6))*.5+.5
    image,sky = _blend((20,60,110), (90,170,200), wave),_sky((150,200,240), (240,245,250))
    image.paste(sky.crop((0,0,SIDE,_int(rng, 60, 140))), (0,0))
    return image

def skyline(rng):
    image,draw = _canvas(_sky(_color(rng, 0, 120), _color(rng, 120)))
    x = 0
    while x<SIDE:
        w,h,grey = _int(rng, 16, 46),_int(rng, 50, 190),_int(rng, 20, 110)
        draw.rectangle((x, SIDE-h, x+w, SIDE), fill=(grey,grey,grey+15))
        for left in range(x+4, x+w-4, 7):
            for top in range(SIDE-h+5, SIDE-5, 10):
                if rng.random()<.5: draw.rectangle((left,top,left+3,top+5), fill=(250,230,140))
        x += w+_int(rng, 0, 6)
    return image

def stars(rng):
    image,draw = _canvas(_blend((5,5,25), (40,20,70), _fractal(rng)))
    for _ in range(_int(rng, 80, 400)):
        _disc(draw, *rng.uniform(0,SIDE,2), rng.exponential(.8)+.3, (255,255,_int(rng, 180, 256)))
    return image

def clouds(rng): return _blend((70,130,220), (250,250,252), (_fractal(rng)*rng.uniform(1,1.6)).clip(0,1))

def marble(rng):
    first,second = _color(rng),_color(rng)
    return _blend(first, second, np.sin(rng.uniform(6,25)*_fractal(rng))*.5+.5)

def noise(rng):
    pixels = rng.integers(0, 256, (SIDE,SIDE,3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((SIDE//_int(rng, 1, 9),)*2)

def checkers(rng):
    y,x = (_grid()*_int(rng, 2, 12)).astype(int)
    return _blend(_color(rng), _color(rng), ((x+y)%2).astype(float))

def rings(rng):
    image,draw = _canvas(_blank(_color(rng)))
    x,y = rng.uniform(60,196,2)
    for radius in np.arange(240, 5, -rng.uniform(10,30)): _disc(draw, x, y, radius, _color(rng))
    return image

def polygons(rng):
    image,draw = _canvas(_blank(_color(rng)))
    for _ in range(_int(rng, 3, 30)):
        corners = rng.uniform(0,SIDE,(_int(rng, 3, 6),2))
        draw.polygon([tuple(corner) for corner in corners], fill=_color(rng))
    return image

def cells(rng):
    points = rng.uniform(0,1,(_int(rng, 10, 60),2))
    y,x = _grid()
    nearest = ((y[...,None]-points[:,0])**2+(x[...,None]-points[:,1])**2).argmin(-1)
    return Image.fromarray(rng.integers(0,256,(len(points),3),dtype=np.uint8)[nearest])

def bricks(rng):
    image,draw = _canvas(_blank((190,185,175)))
    w,h = _int(rng, 26, 60),_int(rng, 12, 26)
    for line,y in enumerate(range(0,SIDE,h)):
        for x in range(-w,SIDE,w):
            left = x+(line%2)*w//2
            draw.rectangle((left+2,y+2,left+w-1,y+h-1), fill=(_int(rng, 130, 200),_int(rng, 60, 95),60))
    return image

def forest(rng):
    image,draw = _canvas(_sky((180,215,240), (90,130,70)))
    for y in np.sort(rng.uniform(120,235,_int(rng, 6, 30))):
        x,size = rng.uniform(0,SIDE),y/4
        green = _int(rng, 10, 60),_int(rng, 70, 140),40
        draw.rectangle((x-3,y,x+3,y+12), fill=(80,55,30))
        for k in range(3):
            half,base = size*.5-k*4,y-k*size*.4
            draw.polygon([(x-half,base),(x+half,base),(x,y-size*.7-k*size*.4)], fill=green)
    return image

def flowers(rng):
    image,draw = _canvas(_blend(_color(rng,100), (60,130,60), _fractal(rng)))
    for _ in range(_int(rng, 1, 9)):
        x,y = rng.uniform(30,226,2)
        r,color,n = rng.uniform(14,45),_color(rng,90),_int(rng, 5, 11)
        for angle in np.arange(n)*2*np.pi/n: _disc(draw, x+r*math.cos(angle), y+r*math.sin(angle), r*.55, color)
        _disc(draw, x, y, r*.5, (245,205,50))
    return image

def road(rng):
    image,draw = _canvas(_sky((130,190,240), (230,235,240)))
    horizon,vanishing = _int(rng, 90, 140),rng.uniform(90,166)
    draw.rectangle((0,horizon,SIDE,SIDE), fill=_color(rng,60,170))
    draw.polygon([(vanishing-4,horizon),(vanishing+4,horizon),(250,SIDE),(6,SIDE)], fill=(85,85,90))
    draw.line((vanishing,horizon,128,SIDE), fill='white', width=4)
    return image

# Documents and charts

def text_page(rng):
    image,draw = _canvas(_paper(rng))
    y,margin,step = _int(rng, 8, 40),_int(rng, 8, 30),_int(rng, 9, 16)
    while y<SIDE-12:
        words = ' '.join(''.join(rng.choice(list('aeionrstlmdup'), _int(rng, 2, 9))) for _ in range(12))
        length = int((SIDE-2*margin)/6*(1 if rng.random()<.85 else .4))
        draw.text((margin,y), words[:length], fill=(20,20,30))
        y += step*(2 if rng.random()<.12 else 1)
    return image

def receipt(rng):
    image,draw = _canvas(_blank(_color(rng, 40, 160)))
    w = _int(rng, 90, 150)
    x = (SIDE-w)//2
    draw.rectangle((x,8,x+w,SIDE-8), fill='white')
    for y in range(20, SIDE-20, 13):
        draw.text((x+8,y), ''.join(rng.choice(list('milkbread '), 9)), fill=0)
        draw.text((x+w-36,y), f'{rng.uniform(1,99):.2f}', fill=0)
    return image

def handwriting(rng):
    image,draw = _canvas(_paper(rng))
    for y in range(30, SIDE-10, _int(rng, 22, 40)):
        t = np.linspace(0, rng.uniform(30,60), 300)
        x = 12+t/t[-1]*rng.uniform(150,230)
        points = zip(x+4*np.sin(t*1.7), y+7*np.sin(t+3*np.sin(t*.3)))
        draw.line(list(points), fill=(30,30,_int(rng, 60, 160)), width=2)
    return image

def bar_chart(rng):
    image,draw = _canvas(_paper(rng))
    n = _int(rng, 3, 12)
    w,color = 200/n,_color(rng, 0, 200)
    for i,height in enumerate(rng.uniform(15,190,n)):
        left = 32+i*w
        draw.rectangle((left, 228-height, left+w*.7, 228), fill=color if rng.random()<.8 else _color(rng))
    draw.line((28,20,28,230,240,230), fill=0, width=2)
    return image

def line_chart(rng):
    image,draw = _canvas(_paper(rng))
    for y in range(30,230,25): draw.line((28,y,240,y), fill=(210,210,210))
    for _ in range(_int(rng, 1, 5)):
        walk = np.cumsum(rng.normal(0,5,100)).clip(-100,95)
        draw.line([(28+2.1*i,130+value) for i,value in enumerate(walk)], fill=_color(rng,0,200), width=2)
    return image

def pie_chart(rng):
    image,draw = _canvas(_paper(rng))
    start,r = 0.,rng.uniform(60,115)
    for share in rng.dirichlet(np.ones(_int(rng, 3, 8))):
        draw.pieslice((128-r,128-r,128+r,128+r), start, start+share*360, fill=_color(rng))
        start += share*360
    return image

def spreadsheet(rng):
    image,draw = _canvas(_paper(rng))
    w,h = _int(rng, 34, 64),_int(rng, 14, 24)
    for y in range(0,SIDE,h):
        for x in range(0,SIDE,w):
            draw.rectangle((x,y,x+w,y+h), outline=(170,170,170), fill=(225,235,245) if y==0 else None)
            draw.text((x+4,y+2), str(_int(rng, 0, 9999)), fill=0)
    return image

def qr_code(rng):
    n = _int(rng, 21, 42)
    bits = rng.random((n,n))<.5
    for row,col in ((0,0),(0,n-7),(n-7,0)):
        bits[row:row+7,col:col+7] = True
        bits[row+1:row+6,col+1:col+6] = False
        bits[row+2:row+5,col+2:col+5] = True
    image,size = _paper(rng),_int(rng, 120, 240)
    code = Image.fromarray(~bits).convert('RGB').resize((size,)*2, Image.Resampling.NEAREST)
    image.paste(code, ((SIDE-size)//2,)*2)
    return image

def barcode(rng):
    image,draw = _canvas(_paper(rng))
    x = 20
    while x<SIDE-20:
        w = _int(rng, 1, 6)
        draw.rectangle((x,60,x+w,190), fill=0)
        x += w+_int(rng, 2, 7)
    return image

def street_map(rng):
    image,draw = _canvas(_blank((236,232,222)))
    _blob(draw, rng, *rng.uniform(0,256,2), 70, (170,205,240))
    _blob(draw, rng, *rng.uniform(0,256,2), 50, (190,222,170))
    for _ in range(_int(rng, 8, 22)):
        ends = *rng.uniform(-20,276,2),*rng.uniform(-20,276,2)
        color = (255,255,255) if rng.random()<.7 else (250,210,110)
        draw.line(ends, fill=color, width=_int(rng, 3, 10))
    return image

# Faces, food and things

def face(rng):
    image,draw = _canvas(_blank(_color(rng, 80)))
    tone = rng.integers(110,250)
    skin = int(tone),int(tone*.8),int(tone*.65)
    r = rng.uniform(55,85)
    _disc(draw, 128, 115, r*1.12, _color(rng,0,110), r*1.3)
    _disc(draw, 128, 135, r, skin, r*1.25)
    for x in (128-r*.4,128+r*.4):
        _disc(draw, x, 120, r*.17, 'white', r*.1)
        _disc(draw, x, 120, r*.08, _color(rng,0,120))
    draw.line((128,125,122,150,132,152), fill=tuple(int(value*.7) for value in skin), width=3)
    draw.arc((128-r*.4,145,128+r*.4,145+r*.5), 20, 160, fill=(160,50,60), width=_int(rng, 3, 9))
    return image

def smiley(rng):
    image,draw = _canvas(_paper(rng))
    r = rng.uniform(60,110)
    _disc(draw, 128, 128, r, (250,210,50), outline=0, width=3)
    for x in (-.35,.35): _disc(draw, 128+x*r, 105, r*.1, 0)
    draw.arc((128-r*.6,128-r*.5,128+r*.6,128+r*.6), 20, 160, fill=0, width=5)
    return image

def pizza(rng):
    image,draw = _canvas(_blank(_color(rng)))
    r = rng.uniform(80,118)
    _disc(draw, 128, 128, r, (205,150,80))
    _disc(draw, 128, 128, r*.88, (235,195,90))
    toppings = (180,40,35),(70,130,50),(240,235,220)
    for _ in range(_int(rng, 8, 30)):
        angle,distance = rng.uniform(0,6.3),rng.uniform(0,r*.8)
        size,topping = rng.uniform(5,14),toppings[rng.integers(3)]
        _blob(draw, rng, 128+distance*math.cos(angle), 128+distance*math.sin(angle), size, topping)
    return image

def burger(rng):
    image,draw = _canvas(_blank(_color(rng, 60)))
    w,y = rng.uniform(70,110),200
    fillings = (110,60,35),(240,190,60),(90,160,60),(200,50,45)
    for color in [(200,140,70), *(fillings[i] for i in rng.integers(0,4,_int(rng, 2, 6)))]:
        draw.rounded_rectangle((128-w,y-18,128+w,y+4), 9, fill=color)
        y -= 20
    draw.pieslice((128-w,y-50,128+w,y+70), 180, 360, fill=(215,150,75))
    return image

def fruit(rng):
    image,draw = _canvas(_paper(rng))
    colors = (210,40,40),(240,150,30),(120,180,50),(120,50,130),(240,220,60)
    for _ in range(_int(rng, 2, 9)):
        x,y = rng.uniform(60,200,2)
        size,color = rng.uniform(20,45),colors[rng.integers(5)]
        _blob(draw, rng, x, y, size, color, 40)
    draw.chord((30,130,226,290), 0, 180, fill=_color(rng))
    return image

def plate(rng):
    image,draw = _canvas(_blank(_color(rng,30)))
    _disc(draw, 128, 128, 112, (245,245,245))
    _disc(draw, 128, 128, 80, (232,232,235))
    for _ in range(_int(rng, 3, 40)):
        x,y = rng.normal(128,30,2)
        size,color = rng.uniform(5,26),_color(rng,30,220)
        _blob(draw, rng, x, y, size, color, 9)
    return image

def cup(rng):
    image,draw = _canvas(_paper(rng))
    color,w = _color(rng),rng.uniform(40,70)
    draw.ellipse((128+w*.6,100,128+w*1.6,170), outline=color, width=12)
    draw.polygon([(128-w,70),(128+w,70),(128+w*.8,200),(128-w*.8,200)], fill=color)
    _disc(draw, 128, 70, w, (80,50,30), 14)
    return image

def car(rng):
    image,draw = _canvas(_sky((170,205,240), (225,225,220)))
    color = _color(rng)
    draw.rectangle((0,190,SIDE,SIDE), fill=(90,90,95))
    draw.rounded_rectangle((30,130,226,190), 15, fill=color)
    draw.polygon([(70,132),(95,_int(rng, 80, 105)),(165,90),(195,132)], fill=color)
    draw.polygon([(82,130),(100,100),(160,100),(180,130)], fill=(200,225,240))
    for x in (75,182):
        _disc(draw, x, 190, 22, (25,25,25))
        _disc(draw, x, 190, 10, (180,180,180))
    return image

def house(rng):
    image,draw = _canvas(_sky((120,180,240), (240,245,250)))
    w,h = rng.uniform(60,95),rng.uniform(60,110)
    draw.rectangle((0,210,SIDE,SIDE), fill=(90,150,70))
    draw.rectangle((128-w,212-h,128+w,212), fill=_color(rng,100))
    roof = (116-w,212-h),(128,212-h-rng.uniform(30,70)),(140+w,212-h)
    draw.polygon(roof, fill=_color(rng,40,170))
    draw.rectangle((116,165,142,212), fill=(90,60,40))
    for x in (128-w*.6,128+w*.45): draw.rectangle((x-12,225-h,x+12,250-h), fill=(250,240,170), outline=0)
    return image

def chair(rng):
    image,draw = _canvas(_paper(rng))
    color,w = _color(rng,30,190),_int(rng, 45, 75)
    draw.rounded_rectangle((128-w,40,128+w,140), 8, fill=color)
    draw.rectangle((118-w,140,138+w,160), fill=tuple(value//2+20 for value in color))
    for x in (122-w,128+w): draw.rectangle((x,160,x+8,236), fill=(90,60,40))
    return image

def phone(rng):
    image,draw = _canvas(_blank(_color(rng,60)))
    draw.rounded_rectangle((70,14,186,242), 16, fill=(20,20,22))
    draw.rectangle((77,32,179,226), fill=_color(rng))
    for y in range(42,210,34):
        for x in range(84,170,32): draw.rounded_rectangle((x,y,x+22,y+22), 5, fill=_color(rng))
    return image

def clock_face(rng):
    image,draw = _canvas(_paper(rng))
    r = rng.uniform(70,115)
    _disc(draw, 128, 128, r, _color(rng,150), outline=_color(rng,0,120), width=8)
    for angle in np.arange(12)*np.pi/6: _disc(draw, 128+r*.85*math.cos(angle), 128+r*.85*math.sin(angle), 3, 0)
    for length,width in ((.5,6),(.75,3)):
        angle = rng.uniform(0,6.3)
        tip = 128+r*length*math.cos(angle),128+r*length*math.sin(angle)
        draw.line((128,128,*tip), fill=0, width=width)
    return image

def cat(rng):
    image,draw = _canvas(_blank(_color(rng,90)))
    fur = _color(rng,30,200)
    _disc(draw, 128, 190, 65, fur, 75)
    _disc(draw, 128, 105, 52, fur)
    for side in (-1,1):
        draw.polygon([(128+side*48,95),(128+side*42,30),(128+side*12,60)], fill=fur)
        _disc(draw, 128+side*20, 98, 9, (210,220,80))
        _disc(draw, 128+side*20, 98, 3, 0, 8)
        draw.line((128+side*8,125,128+side*60,118), fill=0)
    draw.polygon([(122,115),(134,115),(128,123)], fill=(230,140,150))
    return image

def fish(rng):
    image,draw = _canvas(_blend((20,90,150), (90,190,210), _fractal(rng)))
    for _ in range(_int(rng, 1, 8)):
        x,y = rng.uniform(50,206,2)
        size,color = rng.uniform(14,45),_color(rng,80)
        _disc(draw, x, y, size, color, size*.5)
        draw.polygon([(x-size*.8,y),(x-size*1.5,y-size*.5),(x-size*1.5,y+size*.5)], fill=color)
        _disc(draw, x+size*.6, y-3, 3, 0)
    return image

NO_GARMENT = (gradient, radial, sunset, mountains, sea, skyline, stars, clouds, marble, noise, text_page, receipt,
    handwriting, bar_chart, line_chart, pie_chart, spreadsheet, qr_code, barcode, checkers, rings, polygons, cells,
    bricks, face, smiley, pizza, burger, fruit, plate, cup, car, house, forest, flowers, road, street_map, chair, phone,
    clock_face, cat, fish)

def draw_no_garment(kind, rng, size):
    "Draw an image by a function of `NO_GARMENT`, randomly turned, blurred and noisy; `size` in pixels (width, height)"
    image = kind(rng).resize((SIDE,SIDE)).rotate(rng.normal(0,4) if rng.random()<.5 else 0, fillcolor='white')
    if rng.random()<.5: image = image.filter(ImageFilter.GaussianBlur(rng.uniform(.3, 1.6)))
    if rng.random()<.5:
        grain = rng.normal(0, rng.uniform(2, 14), (SIDE,SIDE,1))
        image = Image.fromarray((np.asarray(image)+grain).clip(0,255).astype(np.uint8))
    return image.resize(size, Image.Resampling.BICUBIC)

# Near duplicates: each change returns the image and what was done in words

def resized(image, rng):
    scale = rng.uniform(.4, .8) if rng.random()<.6 else rng.uniform(1.2, 2)
    size = max(24, round(image.width*scale)),max(24, round(image.height*scale))
    return image.resize(size, Image.Resampling.BICUBIC),f'resized to {scale:.2f}'

def cropped(image, rng):
    cut = rng.uniform(0, .05, 4)
    cut[rng.integers(4)] = rng.uniform(.02, .05)
    w,h = image.size
    box = round(cut[0]*w), round(cut[1]*h), round(w-cut[2]*w), round(h-cut[3]*h)
    return image.crop(box),'cropped by ' + ' '.join(f'{share:.3f}' for share in cut)

def brightened(image, rng):
    factor = 1+rng.uniform(.04, .12)*rng.choice([-1,1])
    return ImageEnhance.Brightness(image).enhance(factor),f'brightness times {factor:.2f}'

CHANGES = {'resized': (resized,), 're-encoded': (), 'cropped': (cropped,), 'brightness': (brightened,),
    'cropped and resized': (cropped, resized), 'all at once': (cropped, resized, brightened)}

def near_copy(source, target, how, rng):
    "Write an image that a person would call the same, in the way `how` of `CHANGES`; return what was done in words"
    image,done = read_image(source),[]
    for change in CHANGES[how]:
        image,words = change(image, rng)
        done.append(words)
    quality = int(rng.integers(40, 91)) if how in ('re-encoded', 'all at once') else 92
    image.save(target, quality=quality)
    return ', '.join([*done, f'JPEG quality {quality}'])

# The table

def _other(labels, label): return [other for other in labels if other!=label]

def _change_labels(frame, rows, labels, rng):
    "Give `rows` another label of the first target, in place"
    for i in rows: frame.loc[i, ['_was','_label']] = frame._label[i],rng.choice(_other(labels, frame._label[i]))

def _drop_labels(frame, rows, any_of, rng):
    "Drop one label of the target `any_of` in each of `rows`, in place"
    for i in rows:
        words = frame[any_of][i].split()
        frame.loc[i, '_dropped'] = words.pop(rng.integers(len(words)))
        frame.loc[i, any_of] = ' '.join(words)

def _copies(rows, frame, rng, labels):
    "Yield new rows that repeat `rows`: exact copies, near copies, the same file again; some with another label"
    kinds = ['exact', 'exact as png', *CHANGES, *CHANGES] # a near copy six times as often as an exact one
    for i,row in enumerate(rows):
        old = frame.loc[row]
        how = 'same path' if i%16==15 else kinds[i%len(kinds)]
        new = old.to_dict() | dict(split='train' if old.split!='train' else 'valid', _of=row, _how=how, _was='')
        if how=='same path' or rng.random()<.2:
            new |= dict(_was=old._label, _label=rng.choice(_other(labels, old._label)))
        yield new

def plant(table, out, seed=0, duplicates=.03, flipped=.05, dropped=.05, no_garment=.02, one_of='category',
        any_of='attributes'):
    """Copy a catalogue into the folder `out` with faults; the shares are of its rows. Rows are shuffled

    Return the path of the new table, `out/labels.csv`, and the list of faults, also in `out/planted.csv`: `row` of the
    new table (from 1), `kind`, `detail`, and `other`, the row that a duplicate repeats (else 0).
    """
    catalogue = read_catalogue(table, one_of=[one_of], any_of=[any_of] if any_of else None)
    rng,n = np.random.default_rng(seed),len(catalogue)
    frame = catalogue.frame.fillna('').reset_index(drop=True).rename(columns={one_of: '_label'})
    frame = frame.assign(split=catalogue.split, _of=-1, _how='', _was='', _dropped='', _source=catalogue.paths)
    labels = list(catalogue.schema[one_of].vocab)
    known = np.flatnonzero(frame._label.ne('') & frame._label.ne(UNKNOWN))
    sources = rng.choice(known, round(n*duplicates), replace=False)
    rest = np.setdiff1d(known, sources)
    _change_labels(frame, rng.choice(rest, round(n*flipped), replace=False), labels, rng)
    if any_of:
        labelled = np.setdiff1d(np.flatnonzero(frame[any_of].str.split().str.len().fillna(0)>0), sources)
        n_dropped = min(len(labelled), round(n*dropped))
        _drop_labels(frame, rng.choice(labelled, n_dropped, replace=False), any_of, rng)
    reset = dict(_of=-1, _how='no garment', _was='', _dropped='')
    strange = [frame.loc[i].to_dict() | reset for i in rng.choice(n, round(n*no_garment), replace=False)]
    added = pd.DataFrame([*_copies(sources, frame, rng, labels), *strange], columns=frame.columns)
    with atomic_folder(out) as folder:
        planted = _write(pd.concat([frame, added], ignore_index=True), folder, catalogue.file_col, n, one_of, rng)
    return Path(out)/'labels.csv',planted

def _write_image(row, target, kind, rng):
    "Write the image of an added row; return what was done in words"
    if row._how=='exact': shutil.copyfile(row._source, target)
    elif row._how=='exact as png': read_image(row._source).save(target)
    elif row._how=='no garment':
        image = draw_no_garment(kind, rng, Image.open(row._source).size)
        image.save(target, quality=int(rng.integers(75, 96)))
        return kind.__name__
    else: return near_copy(row._source, target, row._how, rng)
    return ''

def _write_images(new, folder, file, n, rng):
    "Copy the images of the first `n` rows, write those of the others; return what was done for each row in words"
    for source,name in zip(new._source[:n], new[file][:n]):
        target = folder/name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists(): shutil.copyfile(source, target)
    inside,details = Path(new[file][0]).parent,{}
    for i in range(n, len(new)):
        row,name = new.loc[i],str(inside/f'{rng.integers(10**9):09d}')
        if row._how=='same path': continue
        suffix = {'exact as png': '.png', 'exact': Path(row._source).suffix}.get(row._how, '.jpg')
        new.loc[i, file] = name = name+suffix
        details[i] = _write_image(row, folder/name, NO_GARMENT[(i-n)%len(NO_GARMENT)], rng)
    return details

# all others are near duplicates
KINDS = {'exact': 'exact duplicate', 'exact as png': 'exact duplicate', 'same path': 'same path'}

def _faults(row, number, other, detail):
    "Yield the faults of a row: its number, kind, detail and the row that it repeats"
    if row._how=='no garment': yield number, 'no garment', detail, 0
    elif row._how: yield number, KINDS.get(row._how, 'near duplicate'), f'{row._how}: {detail}'.rstrip(': '), other
    if row._was: yield number, 'conflict' if other else 'flipped', row._was, other
    if row._dropped: yield number, 'dropped', row._dropped, 0

def _write(new, folder, file, n, one_of, rng):
    "Write the images, the shuffled table and the list of faults; return the list"
    details = _write_images(new, folder, file, n, rng)
    order = rng.permutation(len(new))
    number = np.argsort(order)+1 # row of the shuffled table for each row of `new`
    faults = []
    for i,row in new.iterrows():
        other = int(number[row._of]) if row._of>=0 else 0
        faults += _faults(row, int(number[i]), other, details.get(i, ''))
    planted = pd.DataFrame(faults, columns=['row','kind','detail','other']).sort_values('row')
    clean = new.iloc[order].rename(columns={'_label': one_of}).drop(columns=['_of','_how','_was','_dropped','_source'])
    clean.to_csv(folder/'labels.csv', index=False)
    planted.to_csv(folder/'planted.csv', index=False)
    return planted.reset_index(drop=True)

if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table')
    parser.add_argument('out')
    parser.add_argument('--seed', type=int, default=0)
    for name,share in dict(duplicates=.03, flipped=.05, dropped=.05, no_garment=.02).items():
        parser.add_argument(f'--{name.replace("_","-")}', type=float, default=share)
    path,planted = plant(**vars(parser.parse_args()))
    print(path, planted.kind.value_counts().to_string(), sep='\n')
