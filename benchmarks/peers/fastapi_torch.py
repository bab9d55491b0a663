"""A run behind FastAPI and PyTorch as tutorials teach it: read the file, transform it, call the network

Without batching, limits or metrics. It answers with labels and probabilities of the same network, without temperatures,
thresholds and OOD detector of the run.

    python -m peers.fastapi_torch RUN PORT
"""
import io, sys
from typing import Annotated
import torch, uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from torchvision import transforms
from fashion_fastai.models.network import load_network
from fashion_fastai.run import open_run

def create_app(path):
    "Return the application"
    run = open_run(path)
    network,image = load_network(run).eval(),run.config.image
    transform = transforms.Compose([transforms.Resize((image.size, image.size)), transforms.ToTensor(),
        transforms.Normalize(image.mean, image.std)])
    app = FastAPI()

    @app.get('/ready')
    async def ready(): return {'status': 'ready'}

    @app.post('/v1/predict')
    async def predict(files: Annotated[UploadFile, ...]):
        pixels = transform(Image.open(io.BytesIO(await files.read())).convert('RGB'))
        with torch.no_grad(): outputs = network(pixels[None])
        answer = {}
        for target,logits in zip(run.schema, outputs):
            probs = logits[0].softmax(0) if target.kind=='one_of' else logits[0].sigmoid()
            chosen = [int(probs.argmax())] if target.kind=='one_of' else (probs>=0.5).nonzero()[:,0].tolist()
            answer[target.name] = {target.vocab[i]: float(probs[i]) for i in chosen}
        return answer

    return app

if __name__=='__main__': uvicorn.run(create_app(sys.argv[1]), port=int(sys.argv[2]), log_level='warning')
