"""Models with random weights and the real shape: what they say is nonsense, the code around them is not."""

import json
from pathlib import Path
from types import SimpleNamespace

from pixmo.transcripts.weights import AsrOptions, choose_model

LAYERS, HEADS, WIDTH = 1, 2, 32


def multilingual_whisper(folder: Path) -> Path:
    """A Whisper with the vocabulary of large-v3, converted for CTranslate2."""
    import torch
    from ctranslate2.converters.transformers import WhisperLoader
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    tokenizer = json.loads((choose_model(AsrOptions(device="cpu")).weights / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"].pop("<|endoftext|>")
    tokenizer["model"]["vocab"][""] = 50256
    names = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in _LANGUAGE_CODES)]
    names += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nocaptions|>"]
    names += ["<|notimestamps|>", *(f"<|{i * 0.02:.2f}|>" for i in range(1501))]
    ids = {name: 50257 + index for index, name in enumerate(names)}
    shape = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"] = [{"id": number, "content": name, **shape} for name, number in ids.items()]
    tokenizer["post_processor"] = None

    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=51866,
            d_model=WIDTH,
            encoder_layers=LAYERS,
            decoder_layers=LAYERS,
            encoder_attention_heads=HEADS,
            decoder_attention_heads=HEADS,
            encoder_ffn_dim=WIDTH,
            decoder_ffn_dim=WIDTH,
        )
    )
    languages = {name: ids[name] for name in names[2:102]}
    model.generation_config = GenerationConfig(
        suppress_tokens=[], begin_suppress_tokens=[], alignment_heads=[[0, 0]], lang_to_id=languages
    )
    vocabulary = {**tokenizer["model"]["vocab"], **ids}
    spec = WhisperLoader()(model, SimpleNamespace(get_vocab=lambda: vocabulary))
    spec.validate()
    folder.mkdir()
    spec.save(str(folder))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def wav2vec2(folder: Path) -> Path:
    """An alignment model for English letters."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder.mkdir()
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
    (folder / "vocab.json").write_text(json.dumps({letter: index for index, letter in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(letters),
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            intermediate_size=WIDTH,
            conv_dim=(WIDTH,) * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
        )
    ).save_pretrained(folder)
    return folder
