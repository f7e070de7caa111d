"""The mini video model's tokenizer and text encoder, made from the words of the mini world."""

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from backend.recipes.mini_world import MAX_TOKENS, PIECES, REWRITES

SPECIAL_PIECES = ("<pad>", "</s>", "<unk>")


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of 36 pieces that each say one thing.

    With a piece for every plain word so small an encoder is a bag of words: it swaps the colours of shape and
    background, and loses directions. So the normaliser, part of tokenizer.json, rewrites whole phrases:
    "on a blue background" is one piece, "from left to right" another, unknown words are none.
    """
    pieces = {piece: index for index, piece in enumerate((*SPECIAL_PIECES, *PIECES))}
    tokenizer = Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    rules: list[normalizers.Normalizer] = [normalizers.Lowercase()]
    rules += [normalizers.Replace(Regex(pattern), replacement) for pattern, replacement in REWRITES]
    rules.append(normalizers.Strip())
    tokenizer.normalizer = normalizers.Sequence(rules)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", pieces["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=MAX_TOKENS,
    )


def build_text_encoder() -> T5EncoderModel:
    """An untrained T5 encoder, two layers of 128."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(SPECIAL_PIECES) + len(PIECES),
            d_model=128,
            d_kv=32,
            d_ff=256,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=True,
            pad_token_id=0,
            eos_token_id=1,
            is_encoder_decoder=False,
            use_cache=False,
        )
    )
