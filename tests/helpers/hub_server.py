"A local server that speaks the few calls of the Hugging Face hub that are used: where a file is, the file, the list of files; create, upload, commit"
import base64, hashlib, json, shutil, threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

class Hub:
    "Repositories in a folder `ORG/NAME/COMMIT/`; the branch `main` of each is its commit in `main`"
    def __init__(self, folder):
        self.folder,self.main,self.requests,self.break_off = Path(folder),{},Counter(),0
        self.gated,self.tokens = set(),[]
        self.private,self.large,self.downloads = {},{},[] # repo -> bool; SHA-256 -> content; paths of files that were sent

    def add(self, repo, commit):
        "Return the folder of a new commit, which becomes `main`"
        self.main[repo] = commit = (commit*40)[:40]
        (self.folder/repo/commit).mkdir(parents=True)
        return self.folder/repo/commit

    def commit(self, repo, lines):
        "Apply the lines of a commit to a copy of `main`; return its name"
        before = self.folder/repo/self.main.get(repo, 'none')
        name = f'{len(list((self.folder/repo).glob("*")))+1:040x}'
        folder = self.folder/repo/name
        if before.is_dir(): shutil.copytree(before, folder)
        folder.mkdir(parents=True, exist_ok=True)
        for line in lines:
            value = line['value']
            path = folder/value.get('path', '')
            path.parent.mkdir(parents=True, exist_ok=True)
            if line['key']=='file': path.write_bytes(base64.b64decode(value['content']))
            if line['key']=='lfsFile': path.write_bytes(self.large[value['oid']])
            if line['key']=='deletedFile': path.unlink()
        self.main[repo] = name
        return name

LARGE = '.safetensors', '.onnx', '.jpg'

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
        if parts[0]=='api' and parts[4:5]!=['tree']: return self.send_json(id=repo, sha=commit, private=hub.private.get(repo, False))
        if parts[0]=='api':
            files = [dict(type='file', path=path.relative_to(folder).as_posix(), size=path.stat().st_size, oid=commit) for path in sorted(folder.rglob('*')) if path.is_file()]
            return self.send(200, json.dumps(files).encode(), Content_Type='application/json')
        path = folder/'/'.join(parts[4:])
        if not path.is_file(): return self.send(404, X_Error_Code='EntryNotFound', X_Repo_Commit=commit)
        if with_body: hub.downloads.append('/'.join(parts[4:]))
        self.send_file(path.read_bytes(), commit, with_body)

    def send_json(self, status=200, **fields): self.send(status, json.dumps(fields).encode(), Content_Type='application/json')

    def do_PUT(self):
        content = self.rfile.read(int(self.headers['Content-Length']))
        self.server.hub.large[hashlib.sha256(content).hexdigest()] = content
        self.send(200)

    def do_POST(self):
        hub,path,body = self.server.hub,self.path.split('?')[0].strip('/'),self.rfile.read(int(self.headers['Content-Length']))
        hub.requests['POST'] += 1
        if path=='api/repos/create': return self.create(hub, json.loads(body))
        if path=='api/validate-yaml': return self.send_json(errors=[], warnings=[])
        if path.endswith('.git/info/lfs/objects/batch'): return self.send_json(objects=[self.place(hub, item) for item in json.loads(body)['objects']])
        repo,action = '/'.join(path.split('/')[2:4]),path.split('/')[4]
        if repo not in hub.main: return self.send(404, X_Error_Code='RepoNotFound')
        if action=='preupload':
            names = [file['path'] for file in json.loads(body)['files']]
            return self.send_json(files=[dict(path=name, uploadMode='lfs' if name.endswith(LARGE) else 'regular', shouldIgnore=False) for name in names])
        commit = hub.commit(repo, map(json.loads, body.decode().splitlines()))
        self.send_json(commitUrl=f'/{repo}/commit/{commit}', commitOid=commit)

    def create(self, hub, fields):
        if fields['organization']=='others': return self.send(403)
        repo = f'{fields["organization"]}/{fields["name"]}'
        if repo in hub.main: return self.send_json(409, url=f'/{repo}')
        hub.private[repo] = fields['visibility']=='private' if 'visibility' in fields else fields.get('private', False)
        hub.commit(repo, [])
        self.send_json(url=f'http://{self.headers["Host"]}/{repo}')

    def place(self, hub, item):
        if item['oid'] in hub.large: return item
        return item|dict(actions=dict(upload=dict(href=f'http://{self.headers["Host"]}/lfs/{item["oid"]}')))

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

@contextmanager
def as_the_hub(folder, monkeypatch):
    "Let `huggingface_hub` ask a local `Hub` in this process, with an empty cache"
    from huggingface_hub import constants
    with serve_hub(folder/'hub') as (hub,url):
        for name,value in dict(ENDPOINT=url, HUGGINGFACE_CO_URL_TEMPLATE=url+'/{repo_id}/resolve/{revision}/{filename}', # as HF_ENDPOINT does before the import
            HF_HUB_CACHE=str(folder/'cache'), HF_HUB_OFFLINE=False, HF_HUB_DISABLE_XET=True).items(): monkeypatch.setattr(constants, name, value)
        yield hub
