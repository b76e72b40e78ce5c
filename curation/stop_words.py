"""Stop words: for each language some of its most frequent function words, as they are written, in small letters.

Those for English are Gopher's eight (Rae et al. 2021, appendix A.1.1). The others are ours: articles, prepositions,
conjunctions, pronouns, particles and forms of "to be" that hardly any paragraph of running text does without. Gopher
asks for two, and so did FineWeb-2, with the most frequent words of each language's Wikipedia (nouns among them: "born",
"year", "village"). A language that is not here is not held to the rule.
"""

from __future__ import annotations

# One language a line. Where a language is written in two scripts or two spellings, both are given.
_TABLE = """
af die en van in is het nie wat op vir met was om aan dat hy sy te
am እና ነው ላይ ውስጥ ግን ወደ እንደ ይህ ነበር ወይም ጋር በኋላ ናቸው ሆኖም እስከ
ar في من على إلى أن عن مع هذا هذه التي الذي كان لا ما أو هو هي بعد قد كل بين
az və bu bir ilə üçün olan də da ki kimi o sonra isə çox daha idi var edir
be і у ў на што з не да як за ад але гэта для быў якія таксама пра
bg на и в за от се да не е са със като по това че но са или
bn এবং ও করে এই একটি থেকে তিনি না হয় করা জন্য সঙ্গে সাথে তার আর কিন্তু যে পরে ছিল
bo དང ལ གི ཀྱི གྱི ནས དུ ནི ཡིན དེ ཏུ ལས འདི མི
bs je i u na se da su za od sa što kao koji nije bio ili
ca de la el i a que en els les per un una amb es del no és al com
cs a v se na je že s z do to jako by pro ale si jsou nebo který
cy yn y yr i a o ar mae wedi oedd gan ei am fod bod nid hyn
da og i at er en det til på som for med den af de ikke har et
de der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch
el και το να του η της με για που από την στο ο τα είναι δεν θα
en the be to of and that have with
eo la de kaj en estas al por kun ke ne ĝi li mi sed aŭ ankaŭ
es de la que el en y a los del se las por un para con no una su al es lo como
et ja on ei et see oli ka kui mis oma aga või ning tema selle sest
eu eta da ez du bat ere dira egin zen baina hau edo den zuen dute
fa و در به از که این را با است برای آن یک خود تا بر هم شده می
fi ja on ei että se oli hän mutta myös kun ovat sen tai joka niin kuin
fr de la le et les des en un du une que est pour qui dans par sur au pas plus ne ce
fy de en it fan in dat is yn te op wie mei net foar hy
ga an agus na ar le go is sa do ag ní bhí tá seo leis
gl de a o e que en do da un unha para con non os as se por como
gu અને છે આ માટે તે પણ કે એક હતી હતો નથી તો જે હતા સાથે પર છું
he של את על לא הוא עם זה גם כי היא או אל כל יש אני היה אבל
hi के में है की और से का को पर यह भी कि हैं एक नहीं लिए ने
hr je i u na se da su za od što kao koji nije ili biti sam
hu a az és hogy nem is egy meg ez de volt csak el van mint még
hy և է են որ այդ մեջ այս համար մի ու հետ նաև չի էր իր ինչ
id yang dan di dengan untuk dari ini pada dalam tidak itu adalah ke akan juga
is og að í á sem er til við en um það ekki með var af fyrir hann
it di e che la il un in per una con non del è si da le dei alla come i
ja の に は を た が で て と し も な い です ます ある こと から
ka და არ რომ ეს ამ იყო მისი რომელიც მაგრამ როგორც არის კი თუ შემდეგ უნდა იგი
kk және бұл мен деп үшін бір де да болып бар еді ол осы туралы емес кейін
km និង ជា បាន នៅ ក្នុង ដែល មាន នេះ ទៅ ដោយ របស់ ពី មិន នៃ ទេ
kn ಮತ್ತು ಈ ಒಂದು ಅವರು ಇದು ಎಂದು ಆದರೆ ಇಲ್ಲ ಹಾಗೂ ನಂತರ ಅವರ ಎಂಬ ಅಥವಾ ಆ
ko 이 그 수 것 있다 있는 하는 및 등 더 때 또 또는 다른 같은 위해 대한 통해 함께 모든 가장 많은 우리 없는 있습니다
ku û li bi ji de di ku ye jî bo xwe ev ew ne an
ky жана бул менен үчүн бир да деп болгон ал эле бар эмес кийин ошол
la et in est non ad ut cum sed qui quod ex ab sunt per esse
lb an de der vun den a ass fir op mat déi dat net och
lo ແລະ ໃນ ຂອງ ເປັນ ທີ່ ໄດ້ ມີ ໃຫ້ ວ່າ ຈະ ກັບ ນີ້ ບໍ່ ແຕ່ ການ ຢູ່
lt ir yra kad į iš su buvo tai kaip ne bet nuo apie o jis už
lv un ir no kas ar uz par bet tas bija arī ka kā vai nav
mk на и во да се од за е не со што ќе но како сè
ml ഒരു ഈ എന്ന ആണ് എന്നാൽ ഇത് അത് കൂടി മാത്രം പക്ഷേ അവർ ഇല്ല ഞാൻ ആ കൊണ്ട് നിന്ന് എന്ന്
mn нь байна юм гэж энэ ба бол болон бөгөөд их байсан онд биш тэр мөн хүн
mr आहे आणि या हे ते व की तर नाही असे पण आहेत एक होते मध्ये ही हा
ms yang dan di untuk dengan ini pada dalam tidak itu adalah ke dari akan juga
my သည် များ ကို တွင် ဖြစ် သော နှင့် ၏ ရှိ မှာ က မ တယ် ခဲ့ ပြီး
ne र छ को मा पनि यो छन् थियो भने गर्न एक हो तर लागि गरेको हुन्छ
nl de van het een en in is dat op te met voor zijn niet aan ook door die
nn og i det som på er til ein av for å med har ikkje at den dei
no og i det er på som en til å av for at med har ikke den de et
or ଓ ଏହି ଏକ ଏବଂ ପାଇଁ ମଧ୍ୟ ସେ କରି ପରେ ଏହା ନାହିଁ ଯେ ବା ହେଉଛି
pa ਦੇ ਵਿੱਚ ਵਿਚ ਹੈ ਦੀ ਅਤੇ ਨੂੰ ਦਾ ਨੇ ਤੋਂ ਇਹ ਨਾਲ ਹਨ ਲਈ ਵੀ ਕਿ
pl w i na się z do nie że to jest o jak po ale za od przez
ps د په چې او له ته دا کې سره نه هم خو یو
pt de a que o e do da em um para com não uma os no na se por mais como
ro de și în la a cu pe că nu din care este o un se să mai
ru и в не на что с он как это по но из к у за от так же
si සහ මෙම ඒ හා ද ඇති එය ලෙස නමුත් සඳහා කරන වන විසින් මේ බව
sk a v sa na je že s z do to ako by pre ale si sú alebo ktorý
sl in je v na se da so za z ki pa ne po tudi kot ali
so iyo oo ka ku ah in ee la waxaa uu waa ay soo
sq të dhe e në i një me për nga që është më si nuk do
sr је и у на се да су за од што као који није или i je u na se da su za od što kao koji nije ili
sv och i att det som en på är av för med till den har inte de ett om
sw ya na wa kwa ni katika la za kuwa hii cha pia kama ili au
ta ஒரு மற்றும் இந்த என்று என்ற அது இது என அந்த அவர் உள்ள இருந்து இல்லை ஆனால் நான்
te ఈ ఒక మరియు ఆ కూడా అని లో అది ఇది కానీ లేదు ఉంది నుండి నేను వారు
tg ва дар ба аз ки ин бо аст барои он як ҳам то
th ที่ และ ของ ใน เป็น มี ได้ ให้ การ ว่า จะ ไม่ กับ นี้ จาก แต่ ก็
tl ng sa ang na mga ay at si hindi ito ko para
tr ve bir bu için de da ile olarak çok daha ne gibi olan ama en kadar var
tt һәм бу белән өчен бер да дә ул бар иде дип булган
uk і в у на не що з до та як за це від але для й
ur کے میں کی ہے اور سے کا کو اس نے پر یہ کہ ہیں نہیں ایک بھی
uz va bu bilan uchun bir ham ning edi bo'lgan deb u lekin esa yoki
vi và của là có cho không được một các những trong với này đã người để
yi און די פון איז אין דער האט צו מיט ער אויף נישט דאס
yue 嘅 係 喺 有 同 佢 唔 咗 呢 個 啲 而 但 都 嚟 到 及 或 的 是 在
zh 的 是 在 了 和 有 不 我 他 也 这 這 就 与 與 为 為 上 中 到 对 對 而 或 以
"""

STOP_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(found) for language, *found in (line.split() for line in _TABLE.strip().splitlines())
}
STOP_WORDS["sh"] = STOP_WORDS["hr"] | STOP_WORDS["sr"]
