# aclnet with torch for CPUs:
#   docker build -t aclnet .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" aclnet info
# With torch for CUDA 12.8, whose wheels hold the CUDA libraries (run with `--gpus all`):
#   docker build -t aclnet:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
ARG PYTHON=3.11
FROM python:${PYTHON}-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Extras of pyproject.toml, for example `all`
ARG EXTRAS=distributed,tensorboard

# Torch before the code: a change of the code leaves this layer as it is.
COPY constraints.txt /src/
RUN pip install --no-cache-dir --constraint /src/constraints.txt --index-url "${TORCH_INDEX}" torch
COPY . /src
RUN pip install --no-cache-dir --constraint /src/constraints.txt "/src[${EXTRAS}]" \
  && useradd --create-home --uid 1000 aclnet

USER 1000
# A user who is given with `docker run --user` has no home folder.
ENV MPLCONFIGDIR=/tmp
WORKDIR /data
ENTRYPOINT ["aclnet"]
CMD ["--help"]
