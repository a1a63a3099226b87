//! Characters taken apart into the parts they are drawn with: 力口 for 加, 扌召 for 招.
//!
//! The parts are those that can be typed. The table is made by hand of the characters that chat and
//! its bait are written with; a part that also has a form of its own (言 for 讠) is taken for it.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// First part, second part, whole.
const WHOLES: &str = "
亻尔你 亻也他 亻直值 亻介价 亻言信 亻弋代 亻本体 亻主住 亻故做 亻壬任 亻寸付 亻共供 亻昔借 亻衣依 亻建健 亻俞偷 亻扁偏
亻吏使 亻呆保 亻更便 亻立位 亻夋俊 亻青倩 亻牛件 亻中仲 亻专传 亻责债 亻象像 亻两俩 亻到倒 亻半伴 亻百佰 亻十什
亻千仟 亻门们 亻乍作 亻申伸 亻可何 亻谷俗 亻加伽 亻尝偿 亻昌倡 亻叚假 亻尤优 亻义仪 亻二仁 亻以似 扌召招 扌戈找
扌丁打 扌由抽 扌是提 扌奂换 扌包抱 扌非排 扌甫捕 扌安按 扌妾接 扌旨指 扌支技 扌巴把 扌立拉 扌合拾 扌受授 扌寺持
扌比批 扌殳投 扌斤折 扌石拓 扌白拍 扌罙探 扌广扩 扌军挥 扌采採 扌口扣 扌区抠 扌少抄 扌当挡 扌隹推 扌居据 扌发拨
扌空控 扌苗描 扌最撮 扌童撞 扌夬抉 扌并拼 扌户护 扌肖捎 氵去法 氵舌活 氵每海 氵工江 氵可河 氵由油 氵酉酒 氵先洗
氵主注 氵气汽 氵青清 氵肖消 氵胡湖 氵皮波 氵聿津 氵永泳 氵台治 氵羊洋 氵又汉 氵少沙 氵林淋 氵干汗 氵显湿 氵勾沟
氵斿游 氵相湘 氵包泡 氵炎淡 氵罙深 氵朝潮 氵票漂 氵度渡 氵夬决 氵胃渭 氵屚漏 氵则测 氵原源 氵元沅 氵农浓 氵艮泿
氵需濡 氵奄淹 氵仓沧 氵兑涗 氵良浪 讠舌话 讠兑说 讠寸讨 讠人认 讠式试 讠果课 讠周调 讠青请 讠射谢 讠己记 讠方访
讠正证 讠平评 讠司词 讠寺诗 讠旬询 讠羊详 讠吾语 讠井讲 讠义议 讠仑论 讠午许 讠只识 讠卖读 讠成诚 讠炎谈 讠皆谐
讠殳设 讠川训 讠秀诱 讠扁谝 讠乍诈 讠迷谜 讠十计 讠丁订 讠亥该 讠隹谁 讠皮诐 讠者诸 讠京谅 讠化讹 讠若诺 讠某谋
讠上让 纟工红 纟东练 纟合给 纟吉结 纟及级 纟冬终 纟且组 纟田细 纟录绿 纟戋线 纟责绩 纟充统 纟只织 纟内纳 纟勺约
纟屯纯 纟色绝 纟圣经 纟少纱 纟从纵 纟己纪 纟召绍 纟卖续 纟宗综 纟扁编 纟者绪 纟帛绵 纟隹维 纟周绸 钅艮银 钅戋钱
钅同铜 钅失铁 钅令铃 钅占钻 钅肖销 钅昔错 钅帛锦 钅竟镜 钅中钟 钅十针 钅勾钩 钅丁钉 钅甫铺 钅建键 口尼呢 口巴吧
口马吗 口阿啊 口乞吃 口曷喝 口昌唱 口合哈 口那哪 口牙呀 口未味 口乎呼 口斤听 口加咖 口非啡 口喜嘻 口卑啤 口可呵
口自咱 口因咽 口十叶 口丁叮 口我哦 口少吵 口约哟 口向响 口及吸 口门问 口力叻 口拉啦 口者啫 女马妈 女子好 女未妹
女且姐 女良娘 女乃奶 女口如 女家嫁 女昏婚 女台始 女尼妮 女少妙 女生姓 女也她 女某媒 女古姑 女支妓 女票嫖 女夭妖
女因姻 女弟娣 女兼嫌 女又奴 女眉媚 女冒媢 女方妨 女喜嬉 木几机 木交校 木反板 木公松 木各格 木娄楼 木主柱 木支枝
木寸村 木对树 木木林 木卜朴 木每梅 木直植 木羊样 木才材 木不杯 木目相 木奉棒 木示标 木既概 木莫模 木艮根 木黄横
木亥核 木佥检 木及极 木又权 木勾构 木易杨 木丁朾 月月朋 月巴肥 月土肚 月要腰 月却脚 月半胖 月生胜 月旦胆 月复腹
月夫肤 月匈胸 月退腿 月殳股 月佥脸 月庄脏 火少炒 火包炮 火丁灯 火因烟 火乍炸 火考烤 火某煤 火然燃 火暴爆 火东炼
火尧烧 火页烦 王见现 王元玩 王里理 王求球 王不环 王朱珠 王令玲 王皮玻 王争琤 王黄璜 王民珉 日寸时 日月明 日免晚
日尧晓 日央映 日乍昨 日青晴 日音暗 日王旺 日军晖 日日昍 日每晦 目艮眼 目青睛 目民眠 目丁盯 目垂睡 目苗瞄 目米眯
目隹睢 石马码 石皮破 石角确 石更硬 石卒碎 石少砂 石宛碗 禾火秋 禾中种 禾多移 禾口和 禾斗科 禾刀利 禾呈程 禾只积
禾兑税 禾必秘 禾少秒 禾厶私 禾希稀 禾急稳 米青精 米唐糖 米分粉 米且粗 米立粒 车交较 车仑轮 车俞输 车专转 车圣轻
车欠软 马也驰 马奇骑 马佥验 马户驴 马又驭 贝才财 贝戎贼 贝兼赚 贝者赌 贝勾购 贝反贩 贝占贴 贝武赋 贝曾赠 贝易赐
贝各赂 贝宁贮 足包跑 足失跌 足各路 足艮跟 足兆跳 足易踢 忄生性 忄夬快 忄白怕 忄亡忙 忄青情 忄每悔 忄董懂 忄曼慢
忄贯惯 忄艮恨 忄不怀 忄京惊 忄吾悟 阝可阿 阝日阳 阝月阴 阝付附 阝余除 阝人队 阝方防 阝示际 阝完院 阝介阶 阝艮限
者阝都 由阝邮 咅阝部 交阝郊 良阝郎 君阝郡 令阝邻 亥刂刻 至刂到 另刂别 禾刂利 害刂割 半刂判 居刂剧 畐刂副 贝刂则
开刂刑 歹刂列 仓刂创 月刂刖 文刂刘 票刂剽 力口加 且力助 工力功 云力动 重力動 又力劝 甚力勘 采彡彩 景彡影 开彡形
予页预 令页领 客页额 川页顺 丁页顶 是页题 彦页颜 工页项 原页愿 己攵改 古攵故 正攵政 孝攵教 求攵救 方攵放 每攵敏
娄攵数 苟攵敬 又欠欢 谷欠欲 哥欠歌 其欠欺 犭句狗 犭苗猫 犭者猪 犭良狼 犭虫独 犭侯猴 礻申神 礻见视 礻畐福 礻兄祝
礻土社 礻且祖 礻乚礼 衤由袖 衤果裸 衤卜补 衤皮被 彳亍行 彳艮很 彳寺待 彳聿律 彳正征 饣反饭 饣官馆 饣包饱 饣欠饮
辶文这 文辶这 元辶远 辶元远 关辶送 辶关送 力辶边 辶力边 斤辶近 辶斤近 米辶迷 辶米迷 首辶道 辶首道 兆辶逃 反辶返
辶反返 车辶连 辶车连 告辶造 辶告造 束辶速 辶束速 甬辶通 辶甬通 先辶选 辶先选 井辶进 辶井进 不辶还 辶不还 云辶运
辶云运 寸辶过 辶寸过 秀辶透 辶秀透 艹化花 艹古苦 艹约药 艹早草 艹平苹 艹采菜 艹办苏 艹央英 艹右若 艹余荼 宀女安
宀子字 宀玉宝 宀各客 宀至室 宀元完 宀豕家 雨田雷 雨相霜 田力男 小土尘 不正歪 不好孬 少力劣 少目省 十日早 十口古
立日音 立早章 自心息 相心想 田心思 亡心忘 今心念 如心恕 非心悲 士口吉 口贝员 口天吴 刀口召 夂口各 又鸟鸡 又又双
又寸对 又见观 又戈戏 角虫触 身寸射 身尚躺 酉己配 酉星醒 酉告酷 酉卒醉 弓长张 弓也弛 弓虽强 土也地 土成城 土不坏
土夬块 土曾增 土里埋 土竟境 土平坪 土又圣 土勺均 土止址 土真填 耳又取 耳只职 耳关联 耳令聆 耳总聪 耳卯聊 耳甹聘
舌辛辞 舌甘甜 其月期 里予野 走己起 走召超 走干赶 走取趣 鱼羊鲜 鱼京鲸 虫它蛇 虫马蚂 虫合蛤 歹匕死 牛勿物 牛寺特
片反版 古月胡 亲斤新 占灬点 子小孙 子亥孩 门口问 门耳闻 门才闭 门日间 门市闹 囗元园 疒丙病 疒冬疼 广木床 广占店
广付府 尸至屋 尸古居 尸水尿 厂力历 立占站 白勺的 音欠歆 黑犬默 弗贝费 弗刂刜 免力勉 尚巾常 巾长帐 巾冒帽 几又殳
冫欠次 冫水冰 冫令冷 冫争净 冫咸减 冫疑凝
";

/// Parts that stand for one another.
const SAME_PARTS: &str = "言讠 訁讠 金钅 釒钅 糸纟 糹纟 食饣 飠饣 人亻 手扌 才扌 犬犭 示礻 衣衤 水氵 心忄 邑阝 刀刂 艸艹";

static TABLE: LazyLock<HashMap<(char, char), char>> = LazyLock::new(|| {
    let mut table = HashMap::new();
    for triple in WHOLES.split_whitespace() {
        let parts: Vec<char> = triple.chars().collect();
        if let [a, b, whole] = parts[..] {
            table.insert((a, b), whole);
        }
    }
    let own_forms: Vec<(char, char)> = SAME_PARTS
        .split_whitespace()
        .filter_map(|pair| Some((pair.chars().next()?, pair.chars().nth(1)?)))
        .collect();
    let written: Vec<_> = table.iter().map(|(parts, whole)| (*parts, *whole)).collect();
    for ((a, b), whole) in written {
        for (own, part) in &own_forms {
            if a == *part {
                table.entry((*own, b)).or_insert(whole);
            }
        }
    }
    table
});

static FIRSTS: LazyLock<HashSet<char>> =
    LazyLock::new(|| TABLE.keys().map(|(first, _)| *first).collect());

/// The character that two parts make side by side.
pub(super) fn whole(first: char, second: char) -> Option<char> {
    TABLE.get(&(first, second)).copied()
}

/// Whether a character is the first part of any other.
pub(super) fn is_first(c: char) -> bool {
    FIRSTS.contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_their_whole() {
        for (parts, expected) in
            [("力口", '加'), ("扌召", '招'), ("手召", '招'), ("亻直", '值'), ("金艮", '银')]
        {
            let mut chars = parts.chars();
            let made = whole(chars.next().unwrap(), chars.next().unwrap());
            assert_eq!(made, Some(expected), "{parts}");
        }
        assert_eq!(whole('天', '气'), None);
    }
}
