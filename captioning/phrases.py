"""Phrases of models that talk about themselves or their task instead of the picture, in English and Chinese.

A refusal, an apology or "Here is the caption" is no description. Phrases are sought outside quotations: a poster may well say
"I'm sorry". They are written narrowly, for a caption wrongly refused costs another question to the model.
"""

import re


def _any(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


REFUSAL = _any(
    r"\bI(?:'m| am) (?:sorry|afraid|unable|not able)\b",
    r"\bI apologi[sz]e\b",
    r"\b(?:I|we) (?:can(?:no|')t|can not|could(?: not|n't)|won't|will not|must not|do not|don't) "
    r"(?:\w+ ){0,2}?"
    r"(?:help|assist|describe|identify|provide|fulfil|comply|see|view|access|determine|create|generate|process|open)\b",
    r"\b(?:cannot|can't|unable to) (?:assist|help|comply|fulfil|provide (?:a|the|any) (?:caption|description))\b",
    r"\bas an? (?:AI|artificial intelligence|(?:large |vision[- ])?language model|assistant)\b",
    r"\bagainst (?:my|our|the) (?:policy|policies|guidelines|programming)\b",
    r"\bcontent polic(?:y|ies)\b",
    r"\bno image (?:was|is|has been) (?:provided|attached|uploaded|given|visible)\b",
    r"\bplease (?:provide|upload|attach|share) (?:an?|the) (?:image|picture|photo)\b",
    r"抱歉|对不起，我|很遗憾，我",
    r"作为(?:一个|一名|一款)?(?:AI|人工智能|语言模型|大模型|助手)",
    r"我(?:无法|不能|没有办法|没法)\w{0,4}?(?:描述|识别|查看|看到|提供|生成|处理|完成|协助|回答|满足)",
    r"无法(?:为您|提供(?:描述|帮助)|协助|满足您)",
    r"请您?(?:提供|上传)(?:一张)?(?:图片|图像|照片)|违反了?(?:政策|规定|准则)",
)
META = _any(
    r"\b(?:here(?:'s| is| are)|below (?:is|are)) (?:the|a|an|your|my|some) (?:\w+ ){0,3}"
    r"(?:captions?|descriptions?|prompts?|tags|translations?|answers?|results?|versions?)\b",
    r"\b(?:as|you) (?:requested|asked|instructed)\b",
    r"\bbased on the (?:provided |given )?(?:image|OCR|data|metadata|information|text data)\b",
    r"\baccording to the (?:OCR|metadata|provided|data)\b",
    r"\bOCR (?:data|text|lines?|results?|output)\b",
    r"\bthe (?:provided|given|supplied) (?:image|metadata|data|text lines|information)\b",
    r"\bthis (?:caption|description|prompt) (?:is|describes|was|captures)\b",
    r"\b(?:let me|I will|I'll|I would|I can see|I see)\b",
    r"\bhope (?:this|that) helps\b|\blet me know\b|\bfeel free\b|\b(?:word|character|token) count\b|\bJSON\b",
    r"\bnote that (?:the|this) (?:caption|description)\b",
    r"以下是|(?:好的|当然)[，,。!！]",
    r"根据所?提供的|根据(?:图像|图片)?(?:OCR|文字识别|元数据)|(?:这|该)(?:段|条|个)(?:描述|提示词)",
    r"希望(?:这|对您)|如果?您(?:需要|还)|按照(?:您的)?要求|我(?:将|会)(?:描述|为您)|我(?:可以)?看到",
)
"""Talk about the task. "JSON" and "OCR data" in a caption are the prompt's words, not the picture's."""
PREFIX = _any(
    r"^\s*(?:(?:sure|certainly|of course|okay|ok|absolutely)[!,.]\s*)?"
    r"(?:here(?:'s| is)|below is) (?:the|a|an|your) [^:\n]{0,60}:\s*",
    r"^\s*(?:(?:long|short|medium|detailed|brief|english|simulated user|user) )*(?:caption|description|tags?|prompt)\s*:\s*",
    r"^\s*(?:好的|当然(?:可以)?)[，,。!！]\s*(?:以下是[^：:\n]{0,30}[：:]\s*)?",
    r"^\s*以下是[^：:\n]{0,30}[：:]\s*|^\s*(?:长|短|中等|详细|简短|中文)?(?:描述|标题|标签|提示词)[：:]\s*",
)
"""What may stand before an otherwise good caption, and can be cut off."""
NO_TEXT = _any(
    r"\b(?:there is no|no|without(?: any)?|free of|lacks?(?: any)?|devoid of|not contain(?: any)?) "
    r"(?:visible |readable |legible |written )?(?:text|writing|lettering)\b(?! of)",
    r"(?:没有|不含|未见)(?:任何|可见的?|明显的?)*(?:文字|文本|字样)",
)
"""A caption that denies text."""
SPECIAL_TOKENS = re.compile(
    r"<\|[^|<>]{1,40}\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>|</?(?:think|image|img|box|ref|quad)>|<0x[0-9A-F]{2}>"
)
"""Special tokens of chat formats that leaked into the text."""
