"""A web server of small images that may also be slow, lie, hang, redirect and attack; it runs on this machine alone

    python tests/helpers/web_server.py [SECONDS]     serves /ok/0.jpg, /ok/1.jpg and so on, each after SECONDS, until it is ended; prints its address
"""
import io, sys, threading, time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote
import numpy as np
from PIL import Image

def jpeg(i, size=32):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(i).integers(0, 255, (size,size,3), dtype=np.uint8)).save(file, 'JPEG')
    return file.getvalue()

def bomb():
    file = io.BytesIO()
    Image.new('1', (10000,10100)).save(file, 'PNG')
    return file.getvalue()

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass

    def answer(self, body, status=200, kind='image/jpeg', **headers):
        self.send_response(status)
        fields = {'Content-Type': kind, 'Content-Length': str(len(body))} | {name.replace('_', '-'): text for name,text in headers.items()}
        for name,text in fields.items(): self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        kind,_,rest = self.path.lstrip('/').partition('/')
        server = self.server
        with server.lock:
            server.seen[self.path] += 1
            server.active += 1
            server.most_active = max(server.most_active, server.active)
        try: getattr(self, f'do_{kind}', self.do_404)(rest)
        except (BrokenPipeError, ConnectionResetError): self.close_connection = True
        finally:
            with server.lock: server.active -= 1

    def do_ok(self, rest):
        time.sleep(self.server.delay)
        self.answer(jpeg(int(rest.partition('.')[0])))
    def do_404(self, rest): self.answer(b'<html>no</html>', 404, 'text/html')
    def do_500(self, rest): self.answer(b'', 500)
    def do_html(self, rest): self.answer(b'<html>please log in</html>', kind='text/html; charset=utf-8')
    def do_htmljpg(self, rest): self.answer(b'<html>please log in</html>')
    def do_bomb(self, rest): self.answer(bomb(), kind='image/png')
    def do_big(self, rest): self.answer(b'x', Content_Length=str(10**10))
    def do_gzip(self, rest): self.answer(b'x', Content_Encoding='gzip')
    def do_busy(self, rest): # 429 once for each address
        if self.server.seen[self.path]==1: self.answer(b'', 429, Retry_After='1')
        else: self.do_ok(rest)
    def do_flaky(self, rest): # breaks off once
        if self.server.seen[self.path]==1: self.do_longer(rest)
        else: self.do_ok(rest)
    def do_tomorrow(self, rest): self.answer(b'', 429, Retry_After='86400')
    def do_longer(self, rest): # fewer bytes than it says
        self.answer(jpeg(0)[:200], Content_Length='5000')
        self.close_connection = True
    def do_shorter(self, rest): self.answer(jpeg(0), Content_Length='300')
    def do_chunked(self, rest):
        self.send_response(200)
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        body = jpeg(1)
        for part in (body[:100], body[100:]): self.wfile.write(b'%x\r\n' % len(part)+part+b'\r\n')
        self.wfile.write(b'0\r\n\r\n')
    def do_endless(self, rest): # without a length
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        for _ in range(10_000): self.wfile.write(bytes(65_536))
    def do_hang(self, rest): self.server.stopped.wait(20)
    def do_trickle(self, rest): # a byte at a time
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        for _ in range(400):
            self.wfile.write(b'x')
            if self.server.stopped.wait(0.05): break
    def do_head(self, rest): # a byte of the header at a time
        self.close_connection = True
        for _ in range(400):
            self.wfile.write(b'H')
            if self.server.stopped.wait(0.05): break
    def do_nonsense(self, rest):
        self.close_connection = True
        self.wfile.write(b'\0\xff\r\n\r\n')
    def do_to(self, rest): self.answer(b'moved', 302, 'text/plain', Location=unquote(rest)) # /to/ADDRESS
    def do_moved(self, rest): self.answer(b'moved', 301, 'text/plain', Location=f'/ok/{rest}')
    def do_loop(self, rest): self.answer(b'', 302, Location='/loop/1')

class Server(ThreadingHTTPServer):
    "A server at 127.0.0.1, with what it has seen"
    daemon_threads,request_queue_size = True,64
    def __init__(self, delay=0., host='127.0.0.1'):
        super().__init__((host, 0), Handler)
        self.delay,self.lock,self.stopped = delay,threading.Lock(),threading.Event()
        self.seen,self.active,self.most_active = Counter(),0,0
    def handle_error(self, *args): pass # clients that break off
    @property
    def url(self): return f'http://{self.server_address[0]}:{self.server_address[1]}'
    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self
    def __exit__(self, *args):
        self.stopped.set()
        self.shutdown()
        self.server_close()

if __name__=='__main__':
    server = Server(float(sys.argv[1]) if len(sys.argv)>1 else 0)
    print(server.url, flush=True)
    server.serve_forever()
