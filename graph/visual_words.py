"""Words and classes that say whether a thing can be shown in a picture: data of graph/visual.py, written for it.

English words are in the singular, lower case; Chinese ones are found anywhere in a text. Wikidata's classes are what its
property P31 (instance of) names.
"""

VISUAL = frozenset(
    """
    actor actress airport aircraft airline airplane amphibian animal apparel appliance architect architecture armour artifact
    artist artwork athlete automobile aviation bag ball band bay beach beer beverage bicycle bird boat body bottle braid bread
    breed bridge brush building bus butterfly cake camera canal canyon car castle cat cathedral cave cereal chair cheese church
    cinema city clock cloth clothing cloud coast cocktail coffee coin comet community computer constellation container continent
    cookware costume country crater creature crop crustacean cuisine cutlery dam dance dancer desert dessert device dinosaur dish
    district dog doll dress drink drum electronics emperor engine equipment fabric face fashion festival firework fish flag
    flower food footballer footwear forest fossil fountain frog fruit fungus furniture galaxy game garden garment gemstone
    glacier glassware guitar gun hairstyle harbour harbor hat headgear herb hill horse hospital hotel house illustration
    instrument insect island jewellery jewelry king lake lamp landmark landscape leaf lighthouse lizard locomotive machine mammal
    market mask meal meat metal mineral mollusc monarch monument moon mosque motorcycle mountain mural museum mushroom musician
    nebula neighbourhood noodle ocean opera orchid organism ornament painter painting palace park pasta pastry person phone
    photograph photographer planet plant plaza politician port portrait poster pottery president primate prince princess pub
    queen railway rainbow reef reptile restaurant rice river road robot rock rocket rodent roof ruin salad sandwich satellite
    sauce sculptor sculpture sea settlement shark sheep ship shirt shoe shop shrine shrub sign singer skyline skyscraper snack
    snake soldier soup spacecraft species spice spider sport square stadium star station statue steam stew stone street suburb
    subway symbol tableware tank tea telescope temple theatre theater tomb tool tower town toy train tram tree truck turtle
    typeface uniform university utensil valley vase vegetable vehicle village volcano wall watch waterfall weapon weather wine
    wing winter woman man child wood yacht zebra zoo birth death people food dog cat flower kitchen bird
    """.split()
)

ABSTRACT = frozenset(
    """
    abbreviation abstraction acronym act agreement algebra algorithm analysis axiom belief bias capitalism causality century
    classification communism concept conjecture constitution convention court crime cryptography culture data debate decade
    definition dialect discipline discrimination doctrine ecology economics economy epistemology equation era ethic ethics
    etymology fallacy field finance framework function grammar ideology inference inflation information interpretation
    jurisprudence justice knowledge language law legislation linguistics literature logic management mathematics measure
    mechanics memory method methodology metaphysics methodology morality motivation movement name nationalism notation ontology
    organization paradigm philosophy phoneme phonology phonetics policy politics pragmatics principle probability process
    program programming property protocol psychology quantity regulation relation religion rhetoric right rule semantic
    semantics sentence sociology software standard statistic statistics statute syntax system tax taxonomy term terminology
    theorem theory thought time treaty unit value verb vowel word year month day calendar disambiguation stub glossary
    outline index bibliography
    """.split()
)

VISUAL_INFOBOX = frozenset(
    """
    aircraft airport animal artist artwork automobile baseball basketball body bird breed bridge building castle cat character
    church city clothing comics country cricketer cultivar cyclist dam dog drink film fish flag food football footballer galaxy
    garden gemstone gymnast horse hotel island instrument island lake landform locomotive medal mineral military monarch
    monument mosque mountain museum music musical officeholder organism painting park person planet plant president prison
    protected pyramid rail railway river road royalty saint sculpture settlement ship shipwreck skyscraper spacecraft speciesbox
    automatic taxobox stadium star station street subspeciesbox swimmer taxobox temple tennis theatre tower town train vehicle
    village volcano watch waterfall weapon wine writer zoo
    """.split()
)

ABSTRACT_INFOBOX = frozenset(
    """
    algorithm language law legislation court case programming software treaty theorem theory economy currency philosophy number
    software standard unit protocol family name year election drug enzyme gene protein disease
    """.split()
)

VISUAL_CHINESE = tuple(
    (
        "动物 植物 鸟 鱼 昆虫 猫 狗 马 花 树 水果 蔬菜 食品 菜 茶 酒 面包 城市 城镇 村 县 区 国家 岛 山 河 湖 海 公园 "
        "建筑 桥 塔 寺 庙 宫 城堡 教堂 博物馆 车站 机场 船 飞机 汽车 火车 自行车 乐器 工具 武器 服装 鞋 帽 家具 画 雕塑 "
        "书法 海报 人物 演员 歌手 运动 舞 星 矿物 岩石 器 瓷 灯 钟 节日 出生"
    ).split()
)

ABSTRACT_CHINESE = tuple(
    (
        "理论 概念 哲学 法律 法学 经济学 数学 语言学 语法 术语 定理 方程 算法 心理学 社会学 主义 思想 制度 政治学 逻辑 伦理 "
        "单位 年份 世纪 列表 消歧义"
    ).split()
)

VISUAL_CLASSES = {
    "Q5": "human",
    "Q16521": "taxon",
    "Q55983715": "kind of organism",
    "Q729": "animal",
    "Q756": "plant",
    "Q39367": "dog breed",
    "Q515": "city",
    "Q3957": "town",
    "Q532": "village",
    "Q486972": "settlement",
    "Q6256": "country",
    "Q41176": "building",
    "Q811979": "structure",
    "Q12280": "bridge",
    "Q23413": "castle",
    "Q16970": "church building",
    "Q33506": "museum",
    "Q22698": "park",
    "Q8502": "mountain",
    "Q4022": "river",
    "Q23397": "lake",
    "Q23442": "island",
    "Q746549": "dish",
    "Q2095": "food",
    "Q3305213": "painting",
    "Q860861": "sculpture",
    "Q34379": "musical instrument",
    "Q42889": "vehicle",
    "Q11460": "clothing",
    "Q14745": "furniture",
}

ABSTRACT_CLASSES = {
    "Q4167410": "disambiguation page",
    "Q13406463": "list",
    "Q4167836": "category",
    "Q11266439": "template",
    "Q577": "year",
    "Q3186692": "calendar year",
    "Q578": "century",
    "Q39911": "decade",
    "Q205892": "calendar date",
    "Q47150325": "calendar day",
    "Q151885": "concept",
    "Q7184903": "abstract object",
    "Q17737": "theory",
    "Q7748": "law",
    "Q34770": "language",
    "Q101352": "family name",
    "Q202444": "given name",
}
