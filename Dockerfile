# Server and workers from one image: see docker-compose.yml.
FROM python:3.11-slim
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir -c constraints.txt ".[asr,demo]" && rm -rf /src
WORKDIR /
ENV PIXMO_DATA_DIR=/store PIXMO_HOST=0.0.0.0
VOLUME /store
EXPOSE 8000
CMD ["sh", "-c", "pixmo init && exec pixmo serve --workers 0"]
