"A local server that speaks the few calls of the Hugging Face hub that are used: where a file is, the file, the list of files"
import hashlib, json, threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

class Hub:
    "Repositories in a folder `ORG/NAME/COMMIT/`; the branch `main` of each is its commit in `main`"
    def __init__(self, folder):
        self.folder,self.main,self.requests,self.break_off = Path(folder),{},Counter(),0
        self.gated,self.tokens = set(),[]

    def add(self, repo, commit):
        "Return the folder of a new commit, which becomes `main`"
        self.main[repo] = commit = (commit*40)[:40]
        (self.folder/repo/commit).mkdir(parents=True)
        return self.folder/repo/commit

class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def do_HEAD(self): self.answer(with_body=False)
    def do_GET(self): self.answer(with_body=True)

    def send(self, status, body=b'', with_body=True, **headers):
        self.send_response(status)
        for name,value in {'Content-Length': len(body), **headers}.items(): self.send_header(name.replace('_', '-'), str(value))
        self.end_headers()
        if with_body: self.wfile.write(body)

    def answer(self, with_body):
        hub,parts = self.server.hub,self.path.split('?')[0].strip('/').split('/')
        if parts==['']: return self.send(200)
        hub.requests[self.command] += 1
        hub.tokens.append(self.headers.get('Authorization'))
        repo = '/'.join(parts[2:4] if parts[0]=='api' else parts[:2])
        if repo not in hub.main: return self.send(404, X_Error_Code='RepoNotFound')
        if repo in hub.gated: return self.send(403, X_Error_Code='GatedRepo')
        revision = (parts[5] if len(parts)>5 else 'main') if parts[0]=='api' else parts[3]
        commit = hub.main[repo] if revision=='main' else revision
        folder = hub.folder/repo/commit
        if not folder.is_dir(): return self.send(404, X_Error_Code='RevisionNotFound')
        if parts[0]=='api':
            files = [dict(type='file', path=path.name, size=path.stat().st_size, oid=commit) for path in sorted(folder.iterdir())]
            return self.send(200, json.dumps(files).encode(), Content_Type='application/json')
        path = folder/'/'.join(parts[4:])
        if not path.is_file(): return self.send(404, X_Error_Code='EntryNotFound', X_Repo_Commit=commit)
        self.send_file(path.read_bytes(), commit, with_body)

    def send_file(self, content, commit, with_body):
        hub,etag = self.server.hub,hashlib.sha256(content).hexdigest()
        headers = dict(ETag=f'"{etag}"', X_Repo_Commit=commit, Accept_Ranges='bytes')
        if not with_body: return self.send(200, content, False, **headers)
        start = int(self.headers.get('Range', 'bytes=0-').removeprefix('bytes=').split('-')[0])
        rest,status = content[start:],206 if start else 200
        hub.requests['resumed'] += bool(start)
        if start: headers['Content_Range'] = f'bytes {start}-{len(content)-1}/{len(content)}'
        if not hub.break_off or len(rest)<10_000: return self.send(status, rest, **headers)
        hub.break_off -= 1
        self.send_response(status)
        for name,value in dict(headers, Content_Length=len(rest)).items(): self.send_header(name.replace('_', '-'), str(value))
        self.end_headers()
        self.wfile.write(rest[:len(rest)//2])
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)

@contextmanager
def serve_hub(folder):
    "Yield a `Hub` and its address"
    server = ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
    server.hub = Hub(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield server.hub,f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()
